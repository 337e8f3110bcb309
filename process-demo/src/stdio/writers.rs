//! Where does what is printed wait before it is written?

use std::any::Any;
use std::ffi::CString;
use std::io::{self, BufWriter, Write};
use std::ptr;

use nix::libc;

/// What is printed, once.
pub const PRINTED: &str = "hello";

/// What is still in the program's hands when it has printed; dropping it may print.
pub type Held = Option<Box<dyn Any>>;

/// Its name, and what prints, or gets ready to, so that it goes to standard output at once or later.
pub type Writer = (&'static str, fn() -> io::Result<Held>);

pub const WRITERS: [Writer; 9] = [
    ("write(2)", || write_directly().map(|()| None)),
    ("C's printf, a line", || c_print("\n").map(|()| None)),
    ("C's printf, half a line", || c_print("").map(|()| None)),
    ("C's printf, then fflush", || c_print("\n").and_then(|()| c_flush()).map(|()| None)),
    ("println!", || writeln!(io::stdout(), "{PRINTED}").map(|()| None)), // What println! does.
    ("print!", || write!(io::stdout(), "{PRINTED}").map(|()| None)),
    ("a BufWriter", || {
        let mut buffer = BufWriter::new(io::stdout());
        writeln!(buffer, "{PRINTED}")?;
        Ok(Some(Box::new(buffer)))
    }),
    ("a destructor", || Ok(Some(Box::new(Printer)))),
    ("an exit handler", || {
        // SAFETY: the handler only writes to a descriptor.
        let kept = unsafe { libc::atexit(at_exit) };
        if kept == 0 { Ok(None) } else { Err(io::Error::other("no room for an exit handler")) }
    }),
];

struct Printer;

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
