//! Who the tests run as. PostgreSQL refuses to be started by root, so root starts it as its own user.

use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};

/// A user of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Id of the user's first group.
    pub gid: u32,
}

impl Account {
    /// The user that this process runs as.
    pub fn own() -> Result<Self> {
        let own = std::fs::metadata("/proc/self").context("reading who we run as")?;
        Ok(Self { uid: own.uid(), gid: own.gid() })
    }

    /// Whether this is the superuser.
    pub fn is_root(self) -> bool {
        self.uid == 0
    }

    /// The user called `name` in the machine's list of users.
    pub fn named(name: &str) -> Result<Self> {
        let users = std::fs::read_to_string("/etc/passwd").context("reading the list of users")?;
        find(&users, name).with_context(|| format!("there is no user {name:?} on this machine"))
    }
}

fn find(users: &str, name: &str) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        found.then_some(Account { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\npost:x:7:8::/:/bin/sh\npostgres:x:105:113:,,,:/var:/bin/sh\n";
        assert_eq!(find(users, "postgres"), Some(Account { uid: 105, gid: 113 }));
        assert_eq!(find(users, "nobody"), None);
    }
}
