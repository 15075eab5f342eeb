//! `segue deploy`: reads the app file, uploads the files, requests the rollout, and follows it.
//!
//! Ctrl-C does not stop the rollout. The command then exits with 1, so that a script does not take the
//! release for live.

use std::path::{Path, PathBuf};
use std::{fs, io};

use wire::{
    APP_FILE, ApiClient, AppFile, AppFileError, CommandAccepted, DeployRequest, Scan, ScanError,
    scan,
};

use super::outcome::{Direction, Ending, finish};
pub(crate) use super::outside_paths::Outside;
use super::outside_paths::resolve;
use super::upload::{Uploaded, upload};
use super::{env, page};
use crate::args::{ConnectionOptions, DeployOptions, ReleaseOptions};
use crate::connect::above;
use crate::failure::STEADY;
use crate::progress::ProgressLine;
use crate::{CommandError, ExitStatus, Io};

const LEAVE_OUT: &str = "if the app does not need it, name it in `.segueignore`";

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &DeployOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let path = find(options.what.file.as_deref())?;
    let file = read(&path, Outside::flag(options.what.outside))?;
    let act = format!("deploy {}", file.spec.app);
    let client = connection.client(&act)?;
    let mut progress = ProgressLine::new(io, "reading the release's files");
    let accepted = send(&client, &path, file, options, io, &mut progress);
    progress.end();
    let accepted = accepted?;
    let ending = Ending { wish: Direction::Forward, following: options.following };
    finish(&client, &accepted, &act, ending, io)
}

/// Does everything up to the server's answer.
pub(crate) fn send(
    client: &ApiClient,
    path: &Path,
    file: AppFile,
    options: &DeployOptions,
    io: &mut Io<'_>,
    progress: &mut ProgressLine,
) -> Result<CommandAccepted, CommandError> {
    let app = file.spec.app.clone();
    let Packed { mut request, dir, warnings } = pack(path, file, &options.what)?;
    for warning in warnings {
        progress.line(io, &warning);
    }
    let mut again = Again::Once;
    while let Some(manifest) = &request.manifest
        && let Uploaded::Changed(changed) = upload(client, &dir, manifest, io, progress)?
    {
        if again == Again::No {
            let cause = "it changes while it is sent";
            return Err(CommandError::because(format!("upload {changed}"), cause).hint(STEADY));
        }
        again = Again::No;
        progress.doing(io, &format!("{changed} has changed: reading the files once more"));
        request.manifest = Some(list(path, &dir)?.manifest);
    }
    let request = DeployRequest { replace: options.replace, ..request };
    client.deploy(&app, &request).map_err(|e| CommandError::client(format!("deploy {app}"), &e))
}

/// The choice whether a folder that has changed meanwhile is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Once,
    No,
}

/// A release in the form that is sent, and the folder with its files.
pub(super) struct Packed {
    pub(super) request: DeployRequest,
    pub(super) dir: PathBuf,
    /// Warnings for the user.
    pub(super) warnings: Vec<String>,
}

/// Reads everything that a deploy sends, except the contents of files.
pub(super) fn pack(
    path: &Path,
    file: AppFile,
    what: &ReleaseOptions,
) -> Result<Packed, CommandError> {
    let ReleaseOptions { file: _, release, env, env_file, strategy, outside } = what;
    let file = match strategy {
        None => file,
        Some(kind) => file.with_strategy(kind).map_err(|error| {
            let failure = CommandError::new(format!("use --strategy {kind}"), &error);
            CommandError { hint: error.hint, ..failure }
        })?,
    };
    let settings = file.settings().clone();
    let env = env::gather(file.env, &file.spec, env_file.as_deref(), env)?;
    let dir = resolve(path, "dir", &file.dir, Outside::flag(*outside))?;
    let shipped = list(path, &dir)?;
    let warnings = shipped.other_app_files(&dir).into_iter().map(|path| {
        format!(
            "warning: {path} looks like an app file and is shipped with the release\n\
             hint: {LEAVE_OUT}"
        )
    });
    let warnings = warnings.collect();
    let Scan { manifest, .. } = shipped;
    let request = DeployRequest {
        spec: settings,
        label: release.clone(),
        manifest: Some(manifest),
        env,
        replace: false,
        version: None, // a deploy is of the file, whatever was live before
    };
    Ok(Packed { request, dir, warnings })
}

/// Lists the files of the folder to ship, without the app file itself. If a file disappears meanwhile, the
/// folder is read once more.
pub(super) fn list(path: &Path, dir: &Path) -> Result<Scan, CommandError> {
    let went = |error: &ScanError| matches!(error, ScanError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
    let scanned = match scan(dir) {
        Err(error) if went(&error) => scan(dir),
        scanned => scanned,
    };
    let scanned = scanned.map_err(|error| {
        let hint = match &error {
            ScanError::Refused { .. } => LEAVE_OUT.to_owned(),
            ScanError::Io { .. } if went(&error) => STEADY.to_owned(),
            ScanError::Io { .. } => format!("{LEAVE_OUT}, or make it readable"),
            ScanError::Walk { .. } => {
                format!("`dir` of [run] in {} names the folder to ship", path.display())
            }
        };
        CommandError::new(format!("read {}", dir.display()), &error).hint(hint)
    })?;
    Ok(scanned.without_app_file(dir, path))
}

/// Returns the path of the app file: the one that is named, or else the nearest one, here or in a parent
/// folder.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf, CommandError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let act = format!("find {APP_FILE}");
    let here = std::env::current_dir().map_err(|error| CommandError::new(&*act, &error))?;
    above(&here, Path::new(APP_FILE)).ok_or_else(|| {
        let cause = format!("there is none in {} or above", here.display());
        CommandError::because(act, cause).hint("name one with -f FILE")
    })
}

/// Reads and checks an app file, with the page that it names.
pub(crate) fn read(path: &Path, outside: Outside) -> Result<AppFile, CommandError> {
    let act = format!("read {}", path.display());
    let text = fs::read_to_string(path).map_err(|error| CommandError::new(&*act, &error))?;
    let wrong = |error: AppFileError| {
        let failure = CommandError::new(&*act, &error);
        CommandError { hint: error.hint, ..failure }
    };
    let file = AppFile::from_toml(&text).map_err(wrong)?;
    match file.page.clone() {
        None => Ok(file),
        Some(named) => {
            let html = page::read(&resolve(path, "page", &named, outside)?)?;
            file.with_page(&html).map_err(wrong)
        }
    }
}
