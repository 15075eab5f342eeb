//! Each term has one meaning: a public type name is unique in the whole product.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, Visibility};

use crate::run::Done;

/// Crates that are not part of the product.
const ASIDE: [&str; 1] = ["testkit"];

/// Returns a complaint for every name that several types of the product have.
pub(crate) fn doubled(root: &Path) -> Result<Vec<String>, String> {
    let crates = root.join("crates");
    let wrong = |path: &Path| {
        let path = path.display().to_string();
        move |error| format!("{path}: {error}")
    };
    let mut names = Names::default();
    for entry in fs::read_dir(&crates).map_err(wrong(&crates))? {
        let folder = entry.map_err(wrong(&crates))?.path();
        if ASIDE.iter().any(|name| folder.ends_with(name)) {
            continue;
        }
        for file in rust_files(&folder.join("src")).map_err(wrong(&folder))? {
            let text = fs::read_to_string(&file).map_err(wrong(&file))?;
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            names.read(&name, &text)?;
        }
    }
    Ok(names.complaints())
}

fn rust_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// The files that define a type of each name.
#[derive(Default)]
struct Names(BTreeMap<String, BTreeSet<String>>);

impl Names {
    fn read(&mut self, file: &str, text: &str) -> Done {
        let parsed = syn::parse_file(text).map_err(|error| format!("{file}: {error}"))?;
        if !is_for_tests(&parsed.attrs) && !file.ends_with("tests.rs") {
            self.take_in(file, &parsed.items);
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other item is a type")]
    fn take_in(&mut self, file: &str, items: &[Item]) {
        for item in items {
            let (visibility, name, attributes) = match item {
                Item::Struct(it) => (&it.vis, &it.ident, &it.attrs),
                Item::Enum(it) => (&it.vis, &it.ident, &it.attrs),
                Item::Trait(it) => (&it.vis, &it.ident, &it.attrs),
                Item::Type(it) => (&it.vis, &it.ident, &it.attrs),
                Item::Union(it) => (&it.vis, &it.ident, &it.attrs),
                Item::Mod(module) if !is_for_tests(&module.attrs) => {
                    let inner = module.content.as_ref().map(|(_, items)| items.as_slice());
                    self.take_in(file, inner.unwrap_or_default());
                    continue;
                }
                _ => continue,
            };
            if !matches!(visibility, Visibility::Inherited) && !is_for_tests(attributes) {
                self.0.entry(name.to_string()).or_default().insert(file.to_owned());
            }
        }
    }

    fn complaints(&self) -> Vec<String> {
        let doubled = self.0.iter().filter(|(_, files)| files.len() > 1);
        let complaints = doubled.map(|(name, files)| {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            format!("{name} is the name of several types: {}", files.join(", "))
        });
        complaints.collect()
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        let mut names = Names::default();
        files.iter().for_each(|(name, text)| names.read(name, text).unwrap());
        names.complaints()
    }

    #[test]
    fn a_second_type_of_that_name_is_seen_wherever_it_stands() {
        let desk = ("a/src/lib.rs", "pub struct Desk;");
        for other in [
            "pub(crate) enum Desk {}",
            "pub type Desk = u8;",
            "mod inner { pub(super) trait Desk {} }",
        ] {
            let wrong = complaints(&[desk, ("b/src/lib.rs", other)]);
            assert_eq!(wrong, ["Desk is the name of several types: a/src/lib.rs, b/src/lib.rs"]);
        }
        for other in ["struct Desk;", "#[cfg(test)]\nmod tests { pub struct Desk; }"] {
            assert!(complaints(&[desk, ("b/src/lib.rs", other)]).is_empty(), "{other}");
        }
    }
}
