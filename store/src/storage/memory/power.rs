//! The plug, the planned faults and the room that is left.

use std::collections::HashMap;
use std::io;

use rustix::io::Errno;

/// A kind of call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`File::read_at`](crate::storage::File::read_at).
    Read,
    /// [`File::write_at`](crate::storage::File::write_at).
    Write,
    /// [`File::sync`](crate::storage::File::sync).
    Sync,
    /// [`File::set_len`](crate::storage::File::set_len).
    SetLen,
    /// [`File::allocate`](crate::storage::File::allocate).
    Allocate,
    /// [`Disk::open`](crate::storage::Disk::open).
    Open,
    /// [`Disk::create`](crate::storage::Disk::create).
    Create,
    /// [`Disk::rename`](crate::storage::Disk::rename).
    Rename,
    /// [`Disk::remove`](crate::storage::Disk::remove).
    Remove,
    /// [`Disk::list`](crate::storage::Disk::list).
    List,
    /// [`Disk::sync`](crate::storage::Disk::sync).
    SyncNames,
}

impl Call {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::SetLen,
        Self::Allocate,
        Self::Open,
        Self::Create,
        Self::Rename,
        Self::Remove,
        Self::List,
        Self::SyncNames,
    ];

    /// Whether the call changes anything, so that a power cut before or after it differs.
    const fn changes(self) -> bool {
        !matches!(self, Self::Read | Self::Open | Self::List)
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// With an error of this kind. A write may have done half of its work before that.
    Error(io::ErrorKind),
    /// With this error of the system, likewise.
    System(Errno),
    /// A read or write does only half of what was asked, and says so. Other calls succeed.
    Short,
    /// A write puts down one wrong bit, and says that all is well. Other calls succeed.
    WrongBit,
}

impl From<io::ErrorKind> for Fault {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Error(kind)
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

#[derive(Default)]
pub(super) struct Power {
    steps: u64,
    calls: HashMap<Call, u64>,
    cut_at: Option<u64>,
    plan: Option<Plan>,
    failed: bool,
    pub(super) capacity: Option<u64>,
    pub(super) read_only: bool,
}

#[derive(Clone, Copy)]
struct Plan {
    call: Call,
    skip: u64,
    fault: Fault,
    for_good: bool,
}

/// What becomes of a call.
pub(super) enum Verdict {
    Go,
    Short,
    WrongBit,
    Fail(io::Error),
}

impl Power {
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn calls(&self, call: Call) -> u64 {
        self.calls.get(&call).copied().unwrap_or(0)
    }

    pub(super) fn cut_after(&mut self, steps: u64) {
        self.cut_at = Some(self.steps + steps);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut_at.is_some_and(|at| self.steps > at)
    }

    pub(super) fn restore(&mut self) {
        self.cut_at = None;
    }

    pub(super) fn plan(&mut self, call: Call, skip: u64, fault: Fault, for_good: bool) {
        self.plan = Some(Plan { call, skip, fault, for_good });
        self.failed = false;
    }

    pub(super) fn unplan(&mut self) -> bool {
        self.plan = None;
        self.failed
    }

    /// Counts a call and says what becomes of it; an error if the power is gone.
    pub(super) fn judge(&mut self, call: Call) -> io::Result<Verdict> {
        *self.calls.entry(call).or_default() += 1;
        self.steps += u64::from(call.changes());
        if self.is_cut() {
            return Err(io::Error::other("the power is gone"));
        }
        if self.read_only && call.changes() && !matches!(call, Call::Sync | Call::SyncNames) {
            return Err(Errno::ROFS.into());
        }
        let Some(plan) = self.plan.as_mut().filter(|plan| plan.call == call) else {
            return Ok(Verdict::Go);
        };
        if plan.skip > 0 {
            plan.skip -= 1;
            return Ok(Verdict::Go);
        }
        let fault = plan.fault;
        if !plan.for_good {
            self.plan = None;
        }
        self.failed = true;
        Ok(match fault {
            Fault::Error(kind) => Verdict::Fail(kind.into()),
            Fault::System(error) => Verdict::Fail(error.into()),
            Fault::Short => Verdict::Short,
            Fault::WrongBit => Verdict::WrongBit,
        })
    }
}
