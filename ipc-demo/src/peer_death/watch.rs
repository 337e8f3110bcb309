//! What does the survivor do: does it answer, does it die, or does it sleep on?

use std::io::{BufRead, BufReader, PipeReader};
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use process_demo::child::{Child, Exit};

use super::board::{Board, Side};
use super::ways::CHANGED;
use crate::asleep::{Nap, nap_of, wait_until_settled};

/// What the survivor sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its call returned nothing: the end.
    End,
    /// Its call failed, by this error.
    Error(String),
    /// A signal ended it.
    Killed(Signal),
    /// It sleeps on in this call: not once woken since before the kill.
    Silence(String),
    /// Calls go on as if nothing had happened.
    Unaware,
    /// It took what came for a whole message.
    Whole,
}

/// Looks at one process from outside.
pub struct Watch {
    pid: Pid,
    reports: BufReader<PipeReader>,
    /// Where it slept before the kill.
    asleep: Option<Nap>,
}

const LOOKS: usize = 2000; // A bound of some seconds: what never comes must not hang the demonstration.

impl Watch {
    pub fn over(pid: Pid, reports: PipeReader) -> Watch {
        Watch { pid, reports: BufReader::new(reports), asleep: None }
    }

    /// Waits for its word that a whole message is on its way.
    pub fn sent(&mut self) -> Result<()> {
        let mut line = String::new();
        self.reports.read_line(&mut line)?;
        ensure!(line.trim_end() == "sent", "the writer could not begin: {}", line.trim_end());
        Ok(())
    }

    /// Waits until it sleeps in its mechanism, seen at two looks as the same sleep.
    pub fn until_asleep(&mut self, board: &Board) -> Result<()> {
        let begun = || {
            ensure!(!self.has_told(1)?, "the survivor answered before anybody died");
            Ok(board.has_begun(Side::Survivor).then_some(self.pid))
        };
        let nap = wait_until_settled(begun)?.context("the survivor never slept in its mechanism")?;
        self.asleep = Some(nap);
        Ok(())
    }

    /// Waits until the victim sleeps in its one call of the mechanism: it has begun, so its gate lies behind it.
    pub fn until_in_its_call(victim: Pid, board: &Board) -> Result<()> {
        let begun = || Ok(board.has_begun(Side::Victim).then_some(victim));
        wait_until_settled(begun)?.map(drop).context("the victim never slept in the middle of its message")
    }

    /// Its answer once the other is dead and reaped.
    pub fn answer(&mut self, survivor: Child, patience_ms: u8) -> Result<(Answer, Option<Child>)> {
        for _ in 0..LOOKS {
            if self.has_told(patience_ms)? {
                let mut line = String::new();
                if self.reports.read_line(&mut line)? == 0 {
                    return match survivor.wait()? {
                        Exit::Signal(signal) => Ok((Answer::Killed(signal), None)),
                        Exit::Code(code) => bail!("the survivor ended by itself, with code {code}"),
                    };
                }
                let answer = match line.trim_end() {
                    "end" => Answer::End,
                    "whole" => Answer::Whole,
                    CHANGED => bail!("the survivor was given other bytes than were sent"),
                    "nothing" => Answer::Unaware,
                    error => Answer::Error(error.to_owned()),
                };
                return Ok((answer, Some(survivor)));
            }
            match (nap_of(self.pid)?, &self.asleep) {
                (Some(now), Some(before)) if now == *before => return Ok((Answer::Silence(now.call), Some(survivor))),
                _ => {} // It was woken and is on its way to an answer.
            }
        }
        bail!("the survivor was woken, and never answered")
    }

    fn has_told(&self, patience_ms: u8) -> Result<bool> {
        if !self.reports.buffer().is_empty() {
            return Ok(true);
        }
        Ok(poll(&mut [PollFd::new(self.reports.get_ref().as_fd(), PollFlags::POLLIN)], patience_ms)? > 0)
    }
}
