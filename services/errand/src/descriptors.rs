//! How many files and connections the system lets this process have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is kept for databases, logs and connections to other roles.
const OUR_OWN: u64 = 96;

/// Takes as many descriptors as may be had. Answers how many connections from outside that makes, at most.
pub(crate) fn raise() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Only root may raise the other one; if even this is refused, what there is has to do.
    _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    connections(getrlimit(Resource::Nofile).current)
}

/// Connections are refused before files can not be opened any more: the databases need theirs.
fn connections(descriptors: Option<u64>) -> usize {
    let rest = descriptors.map_or(u64::MAX, |all| all.saturating_sub(OUR_OWN).max(all / 4));
    usize::try_from(rest).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_however_few_there_are() {
        assert_eq!(connections(Some(256)), 160);
        assert_eq!(connections(Some(64)), 16);
        assert_eq!(connections(None), usize::MAX);
        assert!(raise() >= 1);
    }
}
