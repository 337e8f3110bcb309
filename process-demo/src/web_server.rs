//! Threads or processes for a web server?

mod availability;
mod capacity;
mod client;
mod forking;
mod handler;
mod load;
mod models;
mod server;
mod shared_state;
mod starvation;
mod together;
mod verdict;

use std::time::Duration;

use anyhow::Result;
use shared::number::with_unit;
use shared::{Claim, Demo, Extras, Parameter, ParameterKind, Snippet, Stage};

use capacity::Plan;
use handler::Work;
use models::Model;
use server::Setup;
use shared::spare_bytes;

pub const DEMO: Demo = Demo {
    name: "web-server",
    question: "Threads or processes for a web server?",
    claims: &[Claim::PreforkServer],
    rule: "A web server handles requests in several processes at once if, with prefork, two worker processes or more had a \
           request in flight at the same moment, before any was answered, and every answer was right. Refuted if there \
           were never two, or if an answer was wrong; skipped if this machine refuses such a server.",
    extras: Extras {
        parameters: &[
            number("workers", "", "threads or processes that serve; 0 for as many as CPUs", 0.0, 0.0, 64.0),
            number("connections", "", "of the client, kept open", 16.0, 1.0, 1000.0),
            number("cpu_us", "us", "CPU time that each request takes", 50.0, 0.0, 1e6),
            number("wait_ms", "ms", "how long each request waits, as for a database", 0.0, 0.0, 1000.0),
            number("preload_mib", "MiB", "loaded before any worker is made", 16.0, 0.0, 4096.0),
            number("panic_rate", "per mille", "requests that panic", 0.0, 0.0, 500.0),
            number("segv_rate", "per mille", "requests that end in a segmentation fault", 0.0, 0.0, 500.0),
            number("rate", "1/s", "of the paced requests; 0 for half of the slowest model's capacity", 0.0, 0.0, 1e6),
        ],
        ..Extras::NONE
    },
    snippets: &[
        Snippet { path: "process-demo/snippets/http.rs", text: include_str!("../snippets/http.rs") },
        Snippet { path: "process-demo/snippets/connections.rs", text: include_str!("../snippets/connections.rs") },
        Snippet { path: "process-demo/snippets/prefork.rs", text: include_str!("../snippets/prefork.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/memory_of.rs", text: include_str!("../snippets/memory_of.rs") },
    ],
    run,
};

const fn number(
    key: &'static str,
    unit: &'static str,
    says: &'static str,
    default: f64,
    low: f64,
    high: f64,
) -> Parameter {
    Parameter { key, says, kind: ParameterKind::Number { unit, default, low, high } }
}

fn run(stage: &mut Stage) -> Result<()> {
    let plan = plan(stage);
    server::has_descriptors_for(plan.connections, plan.setup.workers)?;
    // Where something is counted, nothing may happen by chance.
    let calm = Setup { work: Work::NONE, ..plan.setup };
    let together = [Model::Prefork, Model::PreforkReusePort].map(|model| together::show(stage, model, &calm));
    let ruling = verdict::of(together)?;
    starvation::show(stage, &calm)?;
    let rows = capacity::show(stage, &plan)?;
    let losses = availability::show(stage, &calm)?;
    let state = shared_state::show(stage, calm.workers)?;
    stage.show(verdict::table(&rows, &losses));
    verdict::explain(stage, &rows, &state);
    stage.headline(verdict::headline(&losses, &ruling));
    stage.rule(Claim::PreforkServer, ruling)?;
    stage.answer(verdict::answer(&rows, &losses));
    stage.advise(verdict::advice(&losses));
    Ok(())
}

fn plan(stage: &mut Stage) -> Plan {
    let workers = match stage.setting("workers") as usize {
        0 => shared::measure::usable_cpus().len().clamp(2, 16), // Of one worker, nothing could be compared.
        workers => workers,
    };
    let work = Work {
        cpu_ns: (stage.setting("cpu_us") * 1000.0) as i64,
        wait: Duration::from_micros((stage.setting("wait_ms") * 1000.0) as u64),
        panic_per_mille: stage.setting("panic_rate") as u64,
        segv_per_mille: stage.setting("segv_rate") as u64,
    };
    let wanted_bytes = stage.setting("preload_mib") as u64 * (1 << 20);
    let preload_bytes = wanted_bytes.min(spare_bytes());
    if preload_bytes < wanted_bytes {
        stage.note(format!("Memory is short here: only {} are preloaded.", with_unit("bytes", preload_bytes as f64)));
    }
    let ms = Duration::from_millis;
    Plan {
        setup: Setup { workers, work, preload_bytes: preload_bytes as usize },
        connections: stage.setting("connections") as usize,
        rounds: stage.by_effort(1, 9, 15),
        closed: stage.by_effort(ms(40), ms(120), ms(1000)),
        paced: stage.by_effort(ms(50), ms(1000), ms(10_000)),
        per_s: stage.setting("rate"),
    }
}
