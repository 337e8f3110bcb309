//! What does a round trip by a child's whole life cost? It is born with the question, and its exit status is the answer.

use anyhow::{Context, Result, ensure};
use ipc_demo::pipe_pair::{PipeEnd, pipe_pair};
use process_demo::child::{Exit, fork};
use shared::Placement::SameCpu;
use shared::measure::{Contest, Ready, Rival, Timing::Batches};

use super::bench::Bench;

pub const LIVES: &str = "exit status, processes";
pub const WAITS: &str = "pipe, processes";

/// An exit status has one byte, so both rows carry one; no other row may stand beside them. A life takes so long that
/// batches of a few lives are enough.
pub fn contest(bench: &Bench) -> Contest<'_> {
    let title = "One byte there and back, on one CPU: a child for each byte, or one child and a pipe";
    let mut contest = Contest::new(title, "whether the child lives for one answer or for all", Batches);
    contest.add(Rival::of_processes(LIVES, SameCpu, |_| Ok(by_its_life(bench))));
    contest.add(Rival::of_processes(WAITS, SameCpu, |_| by_a_pipe(bench)));
    contest
}

/// What both children make of the question.
fn answer_to(question: u8) -> u8 {
    !question // So an answer that was never given, or a question that came back, is not taken for one.
}

fn by_its_life(bench: &Bench) -> Ready<'_> {
    let (row, mut question) = (bench.floor.number(), 0_u8);
    Ready::new(move |steps| {
        bench.floor.give_to(row, None);
        let mut right = 0;
        for _ in 0..steps {
            question = question.wrapping_add(1);
            // SAFETY: the child touches a copy of one byte.
            let child = unsafe { fork(|| answer_to(question)) }.context("starting a process")?;
            right += u64::from(child.wait()? == Exit::Code(answer_to(question).into()));
        }
        Ok(right)
    })
}

fn by_a_pipe(bench: &Bench) -> Result<Ready<'_>> {
    let (mut ours, mut theirs) = pipe_pair()?;
    let (row, mut question) = (bench.floor.number(), 0_u8);
    // SAFETY: the child has its own copies of the descriptors, and touches nothing else.
    let child = unsafe { fork(move || u8::from(answer_all(&mut theirs).is_err())) }.context("starting a process")?;
    let pid = child.pid();
    let turn = move |steps| {
        let _alive = &child; // Killed and reaped with this row.
        bench.floor.give_to(row, None);
        let mut right = 0;
        for _ in 0..steps {
            question = question.wrapping_add(1);
            ours.send(&[question])?;
            let mut answer = [0];
            ensure!(ours.receive(&mut answer)?, "the child is gone");
            right += u64::from(answer == [answer_to(question)]);
        }
        Ok(right)
    };
    Ok(Ready::with_children(turn, vec![pid]))
}

fn answer_all(end: &mut PipeEnd) -> Result<()> {
    let mut question = [0];
    while end.receive(&mut question)? {
        end.send(&question.map(answer_to))?;
    }
    Ok(())
}
