//! Errors as text for people.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::error::Error;

/// Returns an error and its causes in one line. A cause whose text the error contains already is not
/// repeated.
pub fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use core::fmt;

    #[derive(Debug)]
    struct Cause(&'static str, Option<Box<Cause>>);

    impl fmt::Display for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Cause {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        let full = Cause("the disk is full", None);
        let quoted = Cause("cannot write: the disk is full", Some(Box::new(full)));
        let error = Cause("cannot keep the files of web", Some(Box::new(quoted)));
        let said = "cannot keep the files of web: cannot write: the disk is full";
        assert_eq!(in_full(&error), said);
    }
}
