//! Is it as the manual promises: pthreads(7), fork(2), execve(2)?

use shared::Stage;

use super::create::Way;
use super::matrix::Matrix;
use super::thing::{COPY, GONE, OWN, RESET, SHARED, Thing};
use super::{files, locks, memory, running, signals, surroundings, timers};

/// Tells each promise as a fact.
pub fn check(stage: &mut Stage, matrix: &Matrix) {
    let descriptors = names([files::DESCRIPTOR, files::CLOSE_ON_EXEC]);
    let surroundings = names([surroundings::DIRECTORY, surroundings::UMASK, surroundings::ENVIRONMENT]);
    let handlers = names([signals::HANDLER, signals::IGNORED]);
    let timers = names([timers::INTERVAL, timers::POSIX]);
    let says = "All threads of a process share descriptors, directory, umask, environment, signal handlers and timers";
    let due = [&descriptors[..], &surroundings, &handlers, &timers].map(|names| (SHARED, names));
    matrix.fact(stage, says, Way::Thread, &due);
    let says = "A thread has its own stack, program counter, signal mask and thread-local variables";
    let due: [(&str, &[&str]); 3] = [
        (OWN, &names([running::STACK, running::PROGRAM_COUNTER])),
        (COPY, &[signals::MASK.name]), // It begins as a copy.
        (RESET, &[memory::THREAD_LOCAL.name]),
    ];
    matrix.fact(stage, says, Way::Thread, &due);
    let private = names([memory::GLOBAL, memory::THREAD_LOCAL, memory::HEAP, memory::PRIVATE_MAPPING, running::STACK]);
    let says = "A fork copies private memory, descriptors, directory, umask, environment and signal handlers";
    let due = [&private[..], &descriptors, &surroundings, &handlers].map(|names| (COPY, names));
    matrix.fact(stage, says, Way::Fork, &due);
    let says = "After a fork shared mappings, file offsets, connections and locks of open files are still shared";
    let due = names([memory::SHARED_MAPPING, files::OFFSET, files::SOCKET, locks::FLOCK, locks::OPEN_FILE]);
    matrix.fact(stage, says, Way::Fork, &[(SHARED, &due)]);
    let says = "A forked child has no other thread, timer, pending signal or lock by fcntl of its parent";
    let due = names([running::OTHER_THREADS, timers::INTERVAL, timers::POSIX, signals::PENDING, locks::RECORD]);
    matrix.fact(stage, says, Way::Fork, &[(GONE, &due)]);
    let says = "An exec keeps no memory, not even shared, and no close-on-exec descriptor; it resets signal handlers";
    let due = names([memory::HEAP, memory::PRIVATE_MAPPING, memory::SHARED_MAPPING, files::CLOSE_ON_EXEC]);
    matrix.fact(stage, says, Way::Exec, &[(GONE, &due), (RESET, &[signals::HANDLER.name])]);
    let says = "An exec keeps ignored and blocked signals, directory, umask, and the environment that it is given";
    let due = names([signals::IGNORED, signals::MASK]);
    matrix.fact(stage, says, Way::Exec, &[(COPY, &due), (COPY, &surroundings)]);
}

fn names<const COUNT: usize>(things: [Thing; COUNT]) -> [&'static str; COUNT] {
    things.map(|thing| thing.name)
}
