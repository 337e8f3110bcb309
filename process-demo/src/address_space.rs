//! Can one address hold two values at once?

mod pids;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use process_demo::crew::{Crew, Kind, Task};
use process_demo::foreign_memory;
use process_demo::page::Page;
use shared::number::counted;
use shared::{Cell, Claim, Column, Demo, Extras, Ruling, Snippet, Stage, Table};

pub const DEMO: Demo = Demo {
    name: "address-space",
    question: "Can one address hold two values at once?",
    claims: &[Claim::OwnPid, Claim::OwnAddressSpace],
    rule: "That a process has its own pid is refuted if two living processes have one pid, or if a child sees another \
           pid than its parent was given. It holds except at an exec if a process keeps its pid while its program \
           changes: the pid then names the process, not the program. Else it holds. That a process has its own memory \
           is refuted if a change of ordinary memory shows in the other process. It holds except for memory mapped as \
           shared if changes show there, and except for a parent that reads its child if the kernel lets it. Else it \
           holds.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/page.rs", text: include_str!("../snippets/page.rs") },
        Snippet {
            path: "process-demo/snippets/foreign_memory.rs",
            text: include_str!("../snippets/foreign_memory.rs"),
        },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note("Two pages hold 1 each. A forked child writes 2 into both; then its parent writes 3 into both.");
    let copied = Page::copied_by_fork().context("mapping a page")?;
    let shared = Page::shared_by_fork().context("mapping a shared page")?;
    let mut words = [copied.word(), shared.word()];
    // A socket tells the other side what was written: it orders the stores.
    let write: Task<Words<'_>> = |words, [value, ..]| {
        words.iter().for_each(|word| word.store(value, Relaxed));
        Ok(0)
    };
    let value: Task<Words<'_>> = |words, [page, ..]| Ok(words[page as usize].load(Relaxed));
    let address: Task<Words<'_>> = |words, [page, ..]| Ok(words[page as usize].as_ptr().addr() as u64);

    write(&mut words, [1, 0, 0])?;
    let before = of_both_pages(|page| value(&mut words, page))?;
    let mut child = Crew::of(Kind::Processes, 1, || Ok(words))?;
    let mut in_child = |what, page| child.ask(0, what, page)?.value();
    in_child(write, [2, 0, 0])?;
    let child_wrote = [of_both_pages(|page| value(&mut words, page))?, of_both_pages(|page| in_child(value, page))?];
    write(&mut words, [3, 0, 0])?;
    let parent_wrote = [of_both_pages(|page| value(&mut words, page))?, of_both_pages(|page| in_child(value, page))?];
    let addresses = [of_both_pages(|page| address(&mut words, page))?, of_both_pages(|page| in_child(address, page))?];
    let pid = child.pid(0).context("the child has ended")?;
    let from_outside = foreign_memory::read_word(pid, copied.address());

    stage.show(table(addresses[0], before, child_wrote, parent_wrote));
    let says = "Both pages lie at the same addresses in parent and child";
    let got = addresses[0].map(|address| format!("{address:#x}")).join(" and ");
    stage.fact(says, addresses[0] == addresses[1], got);
    stage.note(match &from_outside {
        Ok(value) => format!("The kernel let the parent read the child's {value} from outside (process_vm_readv)."),
        Err(why) => format!("The kernel did not let the parent read the child's memory (process_vm_readv): {why}."),
    });
    judge_memory(stage, child_wrote, parent_wrote, from_outside.is_ok())?;
    pids::judge_pids(stage)
}

/// A word of a page that fork copies, and one of a page that it shares.
type Words<'p> = [&'p AtomicU64; 2];

fn of_both_pages(mut of: impl FnMut([u64; 3]) -> Result<u64>) -> Result<[u64; 2]> {
    Ok([of([0; 3])?, of([1, 0, 0])?])
}

fn table(addresses: [u64; 2], before: [u64; 2], child_wrote: [[u64; 2]; 2], parent_wrote: [[u64; 2]; 2]) -> Table {
    let number = |value: u64| Cell::Number(value as f64);
    let mut rows = Vec::new();
    for (page, name) in ["copied by fork", "mapped as shared"].into_iter().enumerate() {
        let mut row = |moment: &str, parent: [u64; 2], child: Cell| {
            let labels = [name.to_owned(), moment.to_owned(), format!("{:#x}", addresses[page])].map(Cell::Text);
            rows.push(labels.into_iter().chain([number(parent[page]), child]).collect());
        };
        row("before the fork", before, Cell::Nothing);
        row("the child wrote 2", child_wrote[0], number(child_wrote[1][page]));
        row("the parent wrote 3", parent_wrote[0], number(parent_wrote[1][page]));
    }
    let labels = ["page", "moment", "address in both"].map(Column::label);
    let values = ["parent", "child"].map(|name| Column::value(name, ""));
    Table { title: "One address, two processes".to_owned(), columns: labels.into_iter().chain(values).collect(), rows }
}

/// Told from what parent and child saw after the child wrote 2, and after the parent wrote 3.
fn judge_memory(
    stage: &mut Stage,
    child_wrote: [[u64; 2]; 2],
    parent_wrote: [[u64; 2]; 2],
    readable: bool,
) -> Result<()> {
    let [copied, shared] = [0, 1].map(|page| [child_wrote, parent_wrote].map(|both| both.map(|values| values[page])));
    let [here, there] = copied[1];
    let says = "A fork copies ordinary memory: one address holds two values at once";
    let got = format!("{here} in the parent, {there} in the child");
    let kept_apart = stage.fact(says, copied == [[1, 2], [3, 2]], got);
    let says = "Memory mapped as shared holds one value: each process sees what the other wrote";
    let got = format!("{} after the child wrote 2, {} after the parent wrote 3", shared[0][0], shared[1][1]);
    let seen_shared = stage.fact(says, shared == [[2, 2], [3, 3]], got);
    let seen = format!("the same address held {here} in the parent and {there} in the child");
    let ruling = match (kept_apart, seen_shared, readable) {
        (false, ..) => Ruling::refuted(format!("A change of ordinary memory showed in the other process: {seen}")),
        (true, false, false) => Ruling::holds(format!("{seen}, and the parent could not read its child")),
        (true, true, false) => Ruling::except("memory mapped as shared", seen),
        (true, false, true) => Ruling::except("a parent that may read its child", seen),
        (true, true, true) => Ruling::except("memory mapped as shared, and a parent that may read its child", seen),
    };
    stage.rule(Claim::OwnAddressSpace, ruling)?;
    stage.headline(format!("{} at one address, after a fork", counted(if here == there { 1 } else { 2 }, "value")));
    let answer = if kept_apart { "Yes, one in each process" } else { "No" };
    let shared = if seen_shared { "held one value for both" } else { "did not show every change to both" };
    stage.answer(format!(
        "{answer}: ordinary memory held {here} in the parent and {there} in the child. Memory mapped as shared {shared}."
    ));
    stage.advise("Copy `page` for memory that a parent shares with its child.");
    Ok(())
}
