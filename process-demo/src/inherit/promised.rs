//! Is it as the manual promises: pthreads(7), fork(2), execve(2)?

use shared::Stage;

use super::create::Way;
use super::matrix::Matrix;
use super::thing::{COPY, GONE, OWN, RESET, SHARED};
use super::{files, locks, memory, running, signals, surroundings, timers};

/// Tells each promise as a fact.
pub fn check(stage: &mut Stage, matrix: &Matrix) {
    let says = "All threads of a process have one set of descriptors: what one does to a number is done for all";
    matrix.fact(stage, says, Way::Thread, SHARED, &[files::DESCRIPTOR.name, files::CLOSE_ON_EXEC.name]);
    let says = "All threads of a process have one directory, umask and environment, one set of handlers and of timers";
    let surroundings = [surroundings::DIRECTORY, surroundings::UMASK, surroundings::ENVIRONMENT];
    let surroundings = surroundings.map(|thing| thing.name);
    let handlers = [signals::HANDLER.name, signals::IGNORED.name];
    let timers = [timers::INTERVAL.name, timers::POSIX.name];
    matrix.fact(stage, says, Way::Thread, SHARED, &[&surroundings[..], &handlers, &timers].concat());
    let says = "A forked process has copies of directory, umask, environment and handlers";
    matrix.fact(stage, says, Way::Fork, COPY, &[&surroundings[..], &handlers].concat());
    let says = "A forked process has a set of descriptors of its own";
    matrix.fact(stage, says, Way::Fork, COPY, &[files::DESCRIPTOR.name, files::CLOSE_ON_EXEC.name]);
    let says =
        "But what descriptors stand for stays one: offset, connection, and the locks that belong to the open file";
    let open_files = [files::OFFSET.name, files::SOCKET.name, locks::FLOCK.name, locks::OPEN_FILE.name];
    matrix.fact(stage, says, Way::Fork, SHARED, &open_files);
    let says = "A fork copies memory, unless it is mapped as shared";
    let private =
        [memory::GLOBAL, memory::THREAD_LOCAL, memory::HEAP, memory::PRIVATE_MAPPING, running::STACK].map(|it| it.name);
    matrix.fact(stage, says, Way::Fork, COPY, &private);
    matrix.fact(
        stage,
        "Memory that is mapped as shared stays one after a fork",
        Way::Fork,
        SHARED,
        &[memory::SHARED_MAPPING.name],
    );
    let says = "A fork passes on no thread but its own, no timer, no pending signal, no lock by fcntl";
    let not_forked = [running::OTHER_THREADS, timers::INTERVAL, timers::POSIX, signals::PENDING, locks::RECORD];
    matrix.fact(stage, says, Way::Fork, GONE, &not_forked.map(|thing| thing.name));
    let says = "A thread has a stack and a program counter of its own";
    matrix.fact(stage, says, Way::Thread, OWN, &[running::STACK.name, running::PROGRAM_COUNTER.name]);
    let says = "A thread has a signal mask of its own, which begins as a copy";
    matrix.fact(stage, says, Way::Thread, COPY, &[signals::MASK.name]);
    let says = "A thread's thread-local variables begin anew";
    matrix.fact(stage, says, Way::Thread, RESET, &[memory::THREAD_LOCAL.name]);
    let says = "An exec leaves no memory of the old program, not even shared, and no close-on-exec descriptor";
    let not_exec = [memory::HEAP, memory::PRIVATE_MAPPING, memory::SHARED_MAPPING, files::CLOSE_ON_EXEC];
    matrix.fact(stage, says, Way::Exec, GONE, &not_exec.map(|thing| thing.name));
    let says = "An exec resets signal handlers";
    matrix.fact(stage, says, Way::Exec, RESET, &[signals::HANDLER.name]);
    let says = "An exec keeps ignored and blocked signals, directory, umask, and the environment that it is given";
    let kept =
        [signals::IGNORED, signals::MASK, surroundings::DIRECTORY, surroundings::UMASK, surroundings::ENVIRONMENT];
    matrix.fact(stage, says, Way::Exec, COPY, &kept.map(|thing| thing.name));
}
