//! Recognises by the first bytes of a program for which system and processor it was built. Does not recognise
//! scripts.

/// The number of bytes that are needed to recognise a program.
pub const PROGRAM_START: usize = 20;

/// The system that a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Linux and similar systems, on the processor with this number in ELF's `e_machine`.
    Elf {
        /// The number, as listed in /usr/include/elf.h.
        machine: u16,
    },
    /// macOS.
    MachO,
    /// Windows.
    Windows,
}

impl Program {
    /// Returns the kind of program that begins with these bytes; `None` if the kind is unknown.
    pub fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x7f, b'E', b'L', b'F', _, order, ..] => {
                let machine = [*start.get(18)?, *start.get(19)?];
                let big_endian = *order == 2;
                let read = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
                Some(Self::Elf { machine: read(machine) })
            }
            [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => Some(Self::MachO),
            // The last number counts the parts of a program for several processors. In a class file of Java
            // it is larger.
            [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 1..=8, ..] => Some(Self::MachO),
            [b'M', b'Z', ..] => Some(Self::Windows),
            _ => None,
        }
    }

    /// Returns the reason why the program certainly does not run on this machine; `None` if it may.
    pub fn unfit_here(self) -> Option<String> {
        match self {
            Self::MachO => Some("it is a program for macOS".to_owned()),
            Self::Windows => Some("it is a program for Windows".to_owned()),
            Self::Elf { machine } if native().is_empty() || native().contains(&machine) => None,
            Self::Elf { machine } => {
                let name = match machine {
                    3 => "x86 (32 bits)",
                    40 => "Arm (32 bits)",
                    62 => "x86_64",
                    183 => "aarch64",
                    243 => "RISC-V",
                    _ => "another processor",
                };
                Some(format!(
                    "it is a program for {name}, and this machine is {}",
                    std::env::consts::ARCH
                ))
            }
        }
    }
}

/// Returns the processors whose programs this machine runs; an empty list if they are not known.
const fn native() -> &'static [u16] {
    if cfg!(target_arch = "x86_64") {
        &[62, 3]
    } else if cfg!(target_arch = "aarch64") {
        &[183, 40]
    } else {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_first_bytes() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let own = Program::of(&own[..PROGRAM_START]).unwrap();
        assert_eq!(own.unfit_here(), None, "{own:?}");
        let mut elf = [0; PROGRAM_START];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 243;
        let told = Program::of(&elf).unwrap().unfit_here().unwrap();
        assert!(told.starts_with("it is a program for RISC-V"), "{told}");
        let mac = Program::of(b"\xcf\xfa\xed\xfe\x07").unwrap();
        assert_eq!(mac.unfit_here().unwrap(), "it is a program for macOS");
        assert_eq!(Program::of(b"MZ\x90"), Some(Program::Windows));
        for other in [&b""[..], b"#!/bin/sh", b"\x7fELF", b"\xca\xfe\xba\xbe\0\0\0\x34"] {
            assert_eq!(Program::of(other), None, "{other:?}");
        }
    }
}
