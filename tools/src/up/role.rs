//! What a server process does.

/// A role, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Store, directory and proxy in one process, without a coordination service.
    All,
    /// Keeps volumes.
    Store,
    /// Knows where volumes and names are.
    Directory,
    /// The public door.
    Proxy,
    /// Keeps volumes whole.
    Keeper,
}

impl Role {
    /// The command that runs it.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "up",
            Self::Store => "store",
            Self::Directory => "directory",
            Self::Proxy => "proxy",
            Self::Keeper => "keeper",
        }
    }

    /// Whether it has the public door.
    pub fn has_public(self) -> bool {
        matches!(self, Self::All | Self::Proxy)
    }

    /// Whether other servers ask it.
    pub fn has_internal(self) -> bool {
        !matches!(self, Self::Proxy | Self::Keeper)
    }
}
