//! Where does what is printed wait before it is written?

use std::ffi::CString;
use std::io::{self, BufWriter, Stdout, Write};
use std::ptr;

use nix::libc;

/// What is printed, once.
pub const PRINTED: &str = "hello";

/// One row: what prints, so that it goes to standard output at once or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// No buffer: the system call.
    Write,
    /// C's buffer, a whole line.
    CLine,
    /// C's buffer, no end of a line yet.
    CHalf,
    /// As `CLine`, and flushed before the fork.
    CFlushed,
    /// The standard library's buffer, which it flushes at the end of each line.
    RustLine,
    RustHalf,
    /// One more buffer, around it.
    Buffered,
    /// A value that prints when it is dropped.
    Destructor,
    /// A function that C calls at exit.
    ExitHandler,
}

impl Writer {
    pub const ALL: [Writer; 9] = [
        Writer::Write,
        Writer::CLine,
        Writer::CHalf,
        Writer::CFlushed,
        Writer::RustLine,
        Writer::RustHalf,
        Writer::Buffered,
        Writer::Destructor,
        Writer::ExitHandler,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Writer::Write => "write(2)",
            Writer::CLine => "C's printf, a line",
            Writer::CHalf => "C's printf, half a line",
            Writer::CFlushed => "C's printf, then fflush",
            Writer::RustLine => "println!",
            Writer::RustHalf => "print!",
            Writer::Buffered => "a BufWriter",
            Writer::Destructor => "a destructor",
            Writer::ExitHandler => "an exit handler",
        }
    }

    /// Prints, or gets ready to; what is still in the value's hands is returned.
    pub fn print(self) -> io::Result<Option<Held>> {
        match self {
            Writer::Write => write_directly().map(|()| None),
            Writer::CLine => c_print("\n").map(|()| None),
            Writer::CHalf => c_print("").map(|()| None),
            Writer::CFlushed => c_print("\n").and_then(|()| c_flush()).map(|()| None),
            Writer::RustLine => writeln!(io::stdout(), "{PRINTED}").map(|()| None), // What println! does.
            Writer::RustHalf => write!(io::stdout(), "{PRINTED}").map(|()| None),
            Writer::Buffered => {
                let mut buffer = BufWriter::new(io::stdout());
                writeln!(buffer, "{PRINTED}")?;
                Ok(Some(Held::Buffer { _buffer: buffer }))
            }
            Writer::Destructor => Ok(Some(Held::Printer { _printer: Printer })),
            Writer::ExitHandler => {
                // SAFETY: the handler only writes to a descriptor.
                let kept = unsafe { libc::atexit(at_exit) };
                if kept == 0 { Ok(None) } else { Err(io::Error::other("no room for an exit handler")) }
            }
        }
    }
}

/// A value that does something when it is dropped.
pub enum Held {
    Buffer { _buffer: BufWriter<Stdout> },
    Printer { _printer: Printer },
}

pub struct Printer;

impl Drop for Printer {
    fn drop(&mut self) {
        let _ = write_directly(); // A line that is missing is counted.
    }
}

extern "C" fn at_exit() {
    let _ = write_directly();
}

fn write_directly() -> io::Result<()> {
    let line = PRINTED.as_bytes();
    // SAFETY: the text lives as long as the call. (A short count would show as a line that is missing.)
    match unsafe { libc::write(libc::STDOUT_FILENO, line.as_ptr().cast(), line.len()) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn c_print(end: &str) -> io::Result<()> {
    let text = CString::new(format!("{PRINTED}{end}"))?;
    // SAFETY: the format takes one string, which ends with a zero.
    match unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn c_flush() -> io::Result<()> {
    // SAFETY: without a stream it flushes all of them.
    match unsafe { libc::fflush(ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
