//! Which things are passed on, in the order of the tables?

use super::thing::Thing;
use super::{files, locks, memory, running, signals, surroundings, timers};

/// All rows. (By their index a task knows which is meant, after an exec too.)
pub const THINGS: &[Thing] = &[
    memory::GLOBAL,
    memory::THREAD_LOCAL,
    memory::HEAP,
    memory::PRIVATE_MAPPING,
    memory::SHARED_MAPPING,
    running::STACK,
    running::PROGRAM_COUNTER,
    running::OTHER_THREADS,
    running::PID,
    running::PARENT,
    files::DESCRIPTOR,
    files::CLOSE_ON_EXEC,
    files::OFFSET,
    files::SOCKET,
    locks::FLOCK,
    locks::RECORD,
    locks::OPEN_FILE,
    surroundings::DIRECTORY,
    surroundings::UMASK,
    surroundings::ENVIRONMENT,
    signals::HANDLER,
    signals::IGNORED,
    signals::MASK,
    signals::PENDING,
    signals::PENDING_FOR_THREAD,
    timers::INTERVAL,
    timers::POSIX,
];

/// The tables: a title, and the first of its rows.
pub const TABLES: [(&str, &str); 4] = [
    ("Memory, and who runs in it", memory::GLOBAL.name),
    ("Open files, connections and locks", files::DESCRIPTOR.name),
    ("Surroundings", surroundings::DIRECTORY.name),
    ("Signals and timers", signals::HANDLER.name),
];

/// The rows that tell most, for a first look.
pub const IN_SHORT: [&str; 10] = [
    memory::HEAP.name,
    memory::SHARED_MAPPING.name,
    running::STACK.name,
    running::OTHER_THREADS.name,
    files::DESCRIPTOR.name,
    files::OFFSET.name,
    files::SOCKET.name,
    locks::RECORD.name,
    surroundings::DIRECTORY.name,
    signals::HANDLER.name,
];

/// Has the maker a second thread when it passes this on?
pub fn threads_beside(thing: usize) -> bool {
    THINGS[thing].name == running::OTHER_THREADS.name
}
