//! Reads a file of environment variables in the way of Docker Compose, but without expansion: `$` stays `$`.
//! A line that Compose and `docker run --env-file` read differently is refused unless its value is quoted.
//! Errors never contain a value, which may be secret.

use wire::Secret;

/// The error of a file: its line, from 1 on, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) why: String,
    pub(super) hint: &'static str,
}

/// The value that a line sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EnvValue {
    /// This value.
    Set(Secret),
    /// The value that the variable has in the environment of this command.
    Here,
}

/// Returns the variables of a file in their order, each with its line. Does not check names.
pub(super) fn parse(text: &str) -> Result<Vec<(usize, String, EnvValue)>, Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut rest = Rest { text: &text, line: 1 };
    let mut all = Vec::new();
    while let Some(statement) = rest.statement() {
        let line = rest.line;
        let Name { name, end, readers } = name(statement, line)?;
        let value = match end {
            None => {
                rest.skip_line();
                EnvValue::Here
            }
            Some(end) => {
                let start = rest.text.len() - statement.len() + end + 1;
                rest.text = &rest.text[start..];
                EnvValue::Set(Secret::new(rest.value(readers)?))
            }
        };
        all.push((line, name, value));
    }
    Ok(all)
}

/// The programs that accept a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    /// Compose and Docker. They have to read the same value.
    Both,
    /// Compose only: Docker refuses the line.
    Compose,
}

struct Name {
    name: String,
    /// The position of the `=` or `:`.
    end: Option<usize>,
    readers: Readers,
}

/// Returns the name at the beginning of a statement. Docker ends the name only at `=`, and refuses spaces in
/// it.
fn name(statement: &str, line: usize) -> Result<Name, Wrong> {
    let whole = statement.split('\n').next().unwrap_or_default();
    let end = whole.find(['=', ':']);
    let before = whole[..end.unwrap_or(whole.len())].trim_end();
    let bare = match before.strip_prefix("export") {
        Some(after) if after.starts_with([' ', '\t']) => after.trim_start(),
        Some(_) | None => before,
    };
    if bare.contains(char::is_whitespace) {
        let why = "it does not read K=V".to_owned();
        return Err(Wrong { line, why, hint: "write one variable per line, K=V" });
    }
    let for_docker = whole.split('=').next().unwrap_or_default();
    let readers = if for_docker.contains([' ', '\t']) { Readers::Compose } else { Readers::Both };
    if readers == Readers::Both && end.is_some_and(|end| whole[end..].starts_with(':')) {
        let why = "Compose ends the name at the colon, Docker at the equals sign".to_owned();
        return Err(Wrong { line, why, hint: "write K=V with a name of letters, digits and `_`" });
    }
    Ok(Name { name: bare.to_owned(), end, readers })
}

/// The rest of the text that is not read yet.
struct Rest<'a> {
    text: &'a str,
    line: usize,
}

impl<'a> Rest<'a> {
    /// Returns the next statement. Skips empty lines and comments.
    fn statement(&mut self) -> Option<&'a str> {
        loop {
            let whole = self.text.split('\n').next().unwrap_or_default();
            let inside = whole.trim_start();
            if !inside.is_empty() && !inside.starts_with('#') {
                return Some(&self.text[whole.len() - inside.len()..]);
            }
            if self.text.len() == whole.len() {
                return None;
            }
            self.skip_line();
        }
    }

    fn skip_line(&mut self) {
        let end = self.text.find('\n').map_or(self.text.len(), |at| at + 1);
        self.text = &self.text[end..];
        self.line += 1;
    }

    /// Returns the value after a delimiter, and moves on to the next line.
    fn value(&mut self, readers: Readers) -> Result<String, Wrong> {
        let whole = self.text.split('\n').next().unwrap_or_default();
        let inside = whole.trim_start();
        let value = match inside.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                self.text = &self.text[whole.len() - inside.len() + 1..];
                return self.quoted(quote);
            }
            Some(_) | None => plain(whole, readers, self.line)?,
        };
        self.skip_line();
        Ok(value)
    }

    /// Reads a value up to its closing quote, possibly over several lines. Only a comment may follow it.
    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        let opened = self.line;
        let mut value = String::new();
        let mut chars = self.text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, escaped)) if escaped == quote => value.push(quote),
                    Some((_, 'a')) if quote == '"' => value.push('\u{7}'),
                    Some((_, 'b')) if quote == '"' => value.push('\u{8}'),
                    Some((_, 'f')) if quote == '"' => value.push('\u{c}'),
                    Some((_, 'n')) if quote == '"' => value.push('\n'),
                    Some((_, 'r')) if quote == '"' => value.push('\r'),
                    Some((_, 't')) if quote == '"' => value.push('\t'),
                    Some((_, 'v')) if quote == '"' => value.push('\u{b}'),
                    Some((_, same @ ('\\' | '$'))) if quote == '"' => value.push(same),
                    Some((at, '0')) if quote == '"' => {
                        let digits = self.text.get(at + 1..at + 4).unwrap_or_default();
                        value.push(octal(digits, self.line)?);
                        chars.by_ref().take(digits.len()).for_each(drop);
                    }
                    Some((_, other)) => {
                        self.line += usize::from(other == '\n');
                        value.extend(['\\', other]);
                    }
                    None => break,
                },
                c if c == quote => {
                    self.text = &self.text[at + 1..];
                    return self.end_of_quoted().map(|()| value);
                }
                c => {
                    self.line += usize::from(c == '\n');
                    value.push(c);
                }
            }
        }
        let why = format!("the quote {quote} that begins the value is not closed");
        Err(Wrong {
            line: opened,
            why,
            hint: "close it, or put the whole value in the other quotes",
        })
    }

    fn end_of_quoted(&mut self) -> Result<(), Wrong> {
        let after = self.text.split('\n').next().unwrap_or_default().trim_start();
        if !after.is_empty() && !after.starts_with('#') {
            let why = "something follows the closing quote".to_owned();
            let hint = "put the whole value in one pair of quotes";
            return Err(Wrong { line: self.line, why, hint });
        }
        self.skip_line();
        Ok(())
    }
}

/// Returns the character of three octal digits, which follow `\0`. With fewer digits Compose produces a
/// character that nobody intends.
fn octal(digits: &str, line: usize) -> Result<char, Wrong> {
    let is_octal = digits.len() == 3 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let code = u8::from_str_radix(digits, 8).ok().filter(|code| is_octal && code.is_ascii());
    code.filter(|code| *code > 0).map(char::from).ok_or_else(|| Wrong {
        line,
        why: "\\0 in double quotes begins three octal digits of a character of ASCII".to_owned(),
        hint: "put the value in single quotes to keep it as it stands",
    })
}

/// Reads a value without quotes.
fn plain(value: &str, readers: Readers, line: usize) -> Result<String, Wrong> {
    let bare = value.split(" #").next().unwrap_or_default();
    let trimmed = bare.trim();
    let why = match readers {
        Readers::Compose if value.trim_start().starts_with('#') => {
            "one version of Compose takes the value for a comment, another does not"
        }
        Readers::Both if bare != value => {
            "Compose ends the value before ` #`, Docker takes what follows as part of it"
        }
        Readers::Both if trimmed != bare => {
            "Compose takes the spaces around the value off, Docker keeps them"
        }
        Readers::Both | Readers::Compose => return Ok(trimmed.to_owned()),
    };
    let hint = "put the value in quotes, single ones to keep it as it stands";
    Err(Wrong { line, why: why.to_owned(), hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let all = parse(text).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let told = |(line, name, value)| match value {
            EnvValue::Set(value) => format!("{line} {name}={}", Secret::expose(&value)),
            EnvValue::Here => format!("{line} {name}"),
        };
        all.into_iter().map(told).collect()
    }

    #[test]
    fn what_compose_reads_is_read_as_compose_does() {
        let text = "\u{feff}# comment\r\n\r\nA=1\r\nexport B=two\n  C = \"x\" # y\nD='a # b'\nE=\nF\n\
                    G: g # h\nH=a=b\nI=a#b\nJ=x\"y\"\nK=\"a\\tb\\\"c\\\\n\\q\"\nL='it\\'s \\n'\n";
        assert_eq!(
            read(text),
            [
                "3 A=1",
                "4 B=two",
                "5 C=x",
                "6 D=a # b",
                "7 E=",
                "8 F",
                "9 G=g",
                "10 H=a=b",
                "11 I=a#b",
                "12 J=x\"y\"",
                "13 K=a\tb\"c\\n\\q",
                "14 L=it's \\n",
            ]
        );
    }

    #[test]
    fn quoted_values_go_over_lines_and_nothing_is_expanded() {
        let text = "KEY=\"-----BEGIN\nabc\n-----END\"\nP='$HOME ${X} $$'\nQ=$HOME\nR=\"\\$X $Y\"\n\
                    O=\"\\0101\\0011b\\\\0101\"\n";
        let key = "1 KEY=-----BEGIN\nabc\n-----END";
        assert_eq!(
            read(text),
            [key, "4 P=$HOME ${X} $$", "5 Q=$HOME", "6 R=$X $Y", "7 O=A\tb\\0101"]
        );
    }

    #[test]
    fn what_is_read_in_two_ways_is_refused_without_telling_the_value() {
        for (text, line, why) in [
            ("A=1 # one\n", 1, "Compose ends the value before ` #`"),
            ("\nA=1 \n", 2, "Docker keeps them"),
            ("A= 1\n", 1, "Docker keeps them"),
            ("A:B=1\n", 1, "Docker at the equals sign"),
            ("A:1\n", 1, "Docker at the equals sign"),
            ("A=\"1\nB=2\n", 1, "is not closed"),
            ("A='1\n", 1, "is not closed"),
            ("A=\"1\"2\n", 1, "follows the closing quote"),
            ("A=\"1\n2\" x\n", 2, "follows the closing quote"),
            ("A = #1\n", 1, "takes the value for a comment"),
            ("A=\"\\01\"\n", 1, "three octal digits"),
            ("A=\"\n\\0401\"\n", 2, "three octal digits"),
            ("A=\"\\0é1\"\n", 1, "three octal digits"),
            ("just words\n", 1, "does not read K=V"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert_eq!(wrong.line, line, "{text:?}");
            assert!(wrong.why.contains(why) && !wrong.why.contains('1'), "{text:?}: {}", wrong.why);
        }
    }
}
