//! What is larger than the rule allows, with today's size (lines of code, files) and the reason. It only ever shrinks.

pub const EXCEPTIONS: &[(&str, usize, usize)] = &[
    ("process-demo fork-with-threads", 295, 3), // one question in seven situations, forced and by luck.
    ("process-demo inherit", 566, 3), // 27 things by four columns, each cell observed, and each thing set, looked at and changed.
    ("process-demo management", 358, 3), // seven who try six acts, by calls that nix lacks.
    ("process-demo memory", 398, 3),  // the bill of a thread, a fork and a program, and what sharing hides.
    ("process-demo shared-state", 327, 3), // a process-shared lock and an owner process, both its own.
    ("process-demo split", 314, 3),   // six who count, one of them sent the text.
    ("process-demo start-cost", 448, 4), // three claims, which rest on times, on counts and on larger parents.
    ("process-demo supervise", 449, 4), // four troubles of a queue, and a supervisor that is stopped and killed.
    ("process-demo web-server", 365, 3), // its own load generator.
    ("ipc-demo complexity", 566, 4),  // 14 smallest programs, whose lines and system calls it counts.
    ("ipc-demo idle", 529, 2),        // seven mechanisms at five paces, each message sent when it is due.
    ("ipc-demo pass-fd", 277, 2),     // five acts on descriptors.
    ("ipc-demo peer-death", 595, 4),  // 16 mechanisms, each halved, watched from outside and cleaned up after.
    ("ipc-demo round-trip", 452, 3),  // two claims: who can reach whom at all, and what it costs.
    ("ipc-demo throughput", 600, 4),  // 12 mechanisms, and an engine for threads and processes.
    ("process-demo snippet prefork", 278, 1), // a whole life: listeners, workers, deaths, the stop.
    ("process-demo snippet supervisor", 345, 1), // a whole life: workers, hangs, back-off, the stop.
    ("ipc-demo snippet ring", 666, 1), // two ends of two kinds, each with time-outs and the death of the other.
];
