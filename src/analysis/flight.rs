//! Tasks under way: which is next, how its result comes back, and how far all of them are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::plan::{Cost, Limits, Next, Plan};
use crate::progress::Cancellation;

/// Whose bytes, where a run reads two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The model itself; of two that are compared the original.
    First,
    /// The other: the quantized one, or the base.
    Second,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Progress {
    /// Finished layers.
    pub layers_done: u64,
    /// All layers.
    pub layers_total: u64,
    /// Floating-point operations of the finished layers.
    pub work_done: f64,
    /// Floating-point operations of all layers.
    pub work_total: f64,
}

/// The tasks of a run, each of which gives a `T`.
#[derive(Debug)]
pub(super) struct Flight<T> {
    plan: Plan,
    limits: Limits,
    /// None of tasks that were finished before.
    costs: Vec<Option<Cost>>,
    done: Receiver<(usize, T)>,
    report_done: Sender<(usize, T)>,
    progress: Progress,
}

impl<T: Send + 'static> Flight<T> {
    /// A run of tasks with these costs; without a cost a task is finished already.
    pub fn new(costs: Vec<Option<Cost>>, limits: Limits) -> Self {
        let progress = Progress {
            layers_done: costs.iter().filter(|cost| cost.is_none()).count() as u64,
            layers_total: costs.len() as u64,
            work_done: 0.0,
            work_total: costs.iter().flatten().map(|cost| cost.work).sum(),
        };
        let (report_done, done) = channel();
        Self { plan: Plan::new(&costs, limits), limits, costs, done, report_done, progress }
    }

    /// What to do next. A task that can't fit into memory is not handed out: it is finished at once with what `failed` makes
    /// of the reason.
    pub fn next(&mut self, failed: impl Fn(usize, &str) -> T) -> Next {
        loop {
            let next = self.plan.next();
            if let Next::Read(task) = next
                && let Some(reason) = self.too_large(task)
            {
                self.finish(task, failed(task, &reason));
                continue;
            }
            return next;
        }
    }

    /// Why a task can't fit into memory, if it can't.
    pub fn too_large(&self, task: usize) -> Option<String> {
        self.costs[task]?.excess(&self.limits)
    }

    /// Bytes that the tasks in flight may take together: the limit, or what the largest needs alone.
    pub fn memory(&self) -> u64 {
        let needs = self.costs.iter().flatten().map(|cost| cost.least);
        needs.filter(|need| *need <= self.limits.hard_limit).max().unwrap_or(0).max(self.limits.memory)
    }

    /// Takes these before the others.
    pub fn prioritize(&mut self, is_first: impl Fn(usize) -> bool) {
        self.plan.prioritize(is_first);
    }

    /// `work`, to be run on a thread of the caller's choice; its result comes back by [`Flight::take`]. A panic of it costs
    /// one task, not the run: then `fault` gives the result.
    pub fn task<S, W, F>(
        &self,
        task: usize,
        shared: &Arc<S>,
        cancellation: &Cancellation,
        work: W,
        fault: F,
    ) -> impl FnOnce() + Send + 'static
    where
        S: Send + Sync + 'static,
        W: FnOnce(&S) -> T + Send + 'static,
        F: FnOnce(&S) -> T + Send + 'static,
    {
        let (shared, cancellation, report_done) = (Arc::clone(shared), cancellation.clone(), self.report_done.clone());
        move || {
            if cancellation.is_cancelled() {
                return;
            }
            let found = catch_unwind(AssertUnwindSafe(|| work(&shared))).unwrap_or_else(|_| fault(&shared));
            // Cut short, some of it may be missing.
            if !cancellation.is_cancelled() {
                // Nobody listens any more after a run is dropped.
                let _ = report_done.send((task, found));
            }
        }
    }

    /// Ends a task in flight with this result.
    pub fn finish(&mut self, task: usize, found: T) {
        let _ = self.report_done.send((task, found));
    }

    /// Takes what was finished since the last call. Waits up to `wait` for a first task if there is none.
    pub fn take(&mut self, wait: Duration) -> Vec<(usize, T)> {
        let first = if wait.is_zero() { self.done.try_recv().ok() } else { self.done.recv_timeout(wait).ok() };
        let finished: Vec<_> = first.into_iter().chain(self.done.try_iter()).collect();
        for (task, _) in &finished {
            self.plan.finished(*task);
            self.progress.layers_done += 1;
            self.progress.work_done += self.costs[*task].map_or(0.0, |cost| cost.work);
        }
        finished
    }

    /// How far the run is with what was taken.
    pub fn progress(&self) -> Progress {
        self.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(bytes: &[u64], hard_limit: u64) -> Flight<String> {
        let cost = |bytes: &u64| Some(Cost { work: *bytes as f64, bytes: *bytes, least: *bytes, why: None });
        Flight::new(bytes.iter().map(cost).collect(), Limits { threads: 1, memory: 10, hard_limit })
    }

    #[test]
    fn what_does_not_fit_is_finished_with_the_reason_and_a_panic_costs_one_task() {
        let mut flight = flight(&[3_000_000, 2, 1], 2_000_000);
        let failed = |task: usize, reason: &str| format!("{task} {reason}");
        let (shared, cancellation) = (Arc::new("shared"), Cancellation::default());
        assert_eq!(flight.next(failed), Next::Wait, "the largest is first, and alone");
        assert_eq!(flight.take(Duration::ZERO), [(0, "0 needs 3 MB of memory, more than the 2 MB there are".into())]);
        assert_eq!(flight.next(failed), Next::Read(1));
        assert_eq!(flight.next(failed), Next::Read(2));
        flight.task(1, &shared, &cancellation, |_| panic!("a fault"), |shared| format!("fault {shared}"))();
        flight.task(2, &shared, &cancellation, |shared| format!("work {shared}"), |_| String::new())();
        assert_eq!(flight.take(Duration::ZERO), [(1, "fault shared".into()), (2, "work shared".into())]);
        assert_eq!((flight.next(failed), flight.memory()), (Next::Done, 10));
        let Progress { layers_done, work_done, work_total, .. } = flight.progress();
        assert_eq!((layers_done, work_done), (3, work_total));
    }

    #[test]
    fn after_a_cancel_nothing_comes_back() {
        let mut flight = flight(&[1], 1);
        let cancellation = Cancellation::default();
        let work = flight.task(0, &Arc::new(()), &cancellation, |()| String::new(), |()| String::new());
        cancellation.cancel();
        work();
        assert!(flight.take(Duration::ZERO).is_empty());
    }
}
