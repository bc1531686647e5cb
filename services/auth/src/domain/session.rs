//! Sessions, and what a refresh token that is presented does to one.
//!
//! A session is a family of refresh tokens, one generation after the other, of which only the
//! newest may be used. How a token looks and how it is proved is no matter here.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long a session lives after its last refresh.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long the answer of a refresh can be asked for again.
pub const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// The most sessions that a user has at once; the oldest end for a new one.
pub const MOST: usize = 100;
/// The most characters that are kept of what a client calls itself.
pub const USER_AGENT_LONGEST: usize = 200;

/// A place where the user is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id, which is also the name of the family.
    pub id: Uuid,
    /// The newest generation of its refresh token; 0 is the first.
    pub generation: u32,
    /// What the client called itself.
    pub user_agent: String,
    /// The network address that it was opened from.
    pub ip_address: String,
    /// When it was opened.
    pub create_time: Timestamp,
    /// When its newest generation was made.
    pub refresh_time: Timestamp,
    /// When it ends unless it is refreshed before.
    pub expire_time: Timestamp,
}

/// What is to happen when a refresh token is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the newest: make this generation.
    Rotate(u32),
    /// It is the one before, asked again in time: give this generation, the newest, once more.
    Replay(u32),
    /// It was used before: somebody else may hold the family. Revoke it.
    Reuse,
    /// The session has ended by itself.
    Expired,
    /// The session never gave it.
    Unknown,
}

/// How a session comes to its end before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its holder logged out.
    LoggedOut,
    /// The user ended it from elsewhere.
    Deleted,
    /// A used refresh token was presented.
    Revoked,
    /// The password was changed from another session.
    PasswordChanged,
    /// The user opened more sessions than are kept.
    Crowded,
    /// An operator set a new password.
    PasswordReset,
    /// An operator had disabled the account.
    Disabled,
}

// === impl Session ===

impl Session {
    /// A session that begins.
    #[must_use]
    pub fn new(id: Uuid, user_agent: &str, ip_address: String, now: Timestamp) -> Self {
        let user_agent =
            user_agent.chars().filter(|character| !character.is_control()).take(USER_AGENT_LONGEST).collect();
        Self {
            id,
            generation: 0,
            user_agent,
            ip_address,
            create_time: now,
            refresh_time: now,
            expire_time: expiry(now),
        }
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expire_time
    }

    /// Decides what a token of generation `presented` does.
    #[must_use]
    pub fn judge(&self, presented: u32, now: Timestamp) -> Verdict {
        if self.is_expired(now) {
            return Verdict::Expired;
        }
        match self.generation.checked_sub(presented) {
            None => Verdict::Unknown,
            // No session lives through four thousand million refreshes; this only keeps the sum defined.
            Some(0) => presented.checked_add(1).map_or(Verdict::Expired, Verdict::Rotate),
            // A newer generation than the successor exists only once the successor was used.
            Some(1) if now.duration_since(self.refresh_time) <= GRACE => Verdict::Replay(self.generation),
            Some(_) => Verdict::Reuse,
        }
    }

    /// The session after its rotation to `generation`.
    #[must_use]
    pub fn rotated(&self, generation: u32, now: Timestamp) -> Self {
        Self { generation, refresh_time: now, expire_time: expiry(now), ..self.clone() }
    }
}

fn expiry(now: Timestamp) -> Timestamp {
    now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX)
}

// === impl Ending ===

impl Ending {
    /// The kind of the change in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Ending::LoggedOut => "log_out",
            Ending::Deleted => "delete_session",
            Ending::Revoked => "revoke_session",
            Ending::PasswordChanged | Ending::PasswordReset | Ending::Disabled => "end_session",
            Ending::Crowded => "evict_session",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::constant(1_795_251_600, 0);

    fn begun() -> Session {
        Session::new(Uuid::from_u128(1), "grpcurl/1.8.6", "127.0.0.1".into(), START)
    }

    fn after(seconds: i64) -> Timestamp {
        START + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn the_newest_token_rotates_and_the_one_before_is_answered_again_for_ten_seconds() {
        let first = begun();
        assert_eq!(first.judge(0, after(60)), Verdict::Rotate(1));
        let second = first.rotated(1, after(60));
        assert_eq!(second.judge(0, after(60)), Verdict::Replay(1));
        assert_eq!(second.judge(0, after(70)), Verdict::Replay(1));
        assert_eq!(second.judge(1, after(70)), Verdict::Rotate(2));
    }

    #[test]
    fn r_023_a_token_used_again_after_the_grace_is_a_reuse() {
        let second = begun().rotated(1, after(60));
        assert_eq!(second.judge(0, after(71)), Verdict::Reuse);
    }

    #[test]
    fn r_025_a_token_whose_successor_was_used_is_a_reuse_even_at_once() {
        let third = begun().rotated(1, after(60)).rotated(2, after(60));
        assert_eq!(third.judge(0, after(60)), Verdict::Reuse);
        assert_eq!(third.judge(1, after(60)), Verdict::Replay(2));
    }

    #[test]
    fn a_generation_of_the_future_is_unknown_and_revokes_nothing() {
        assert_eq!(begun().judge(1, START), Verdict::Unknown);
        assert_eq!(begun().judge(u32::MAX, START), Verdict::Unknown);
    }

    #[test]
    fn the_last_generation_can_not_be_rotated() {
        assert_eq!(begun().rotated(u32::MAX, START).judge(u32::MAX, START), Verdict::Expired);
    }

    #[test]
    fn r_028_a_session_lives_seven_days_after_its_last_refresh() {
        let week = 7 * 24 * 3600;
        assert_eq!(begun().judge(0, after(week - 1)), Verdict::Rotate(1));
        assert_eq!(begun().judge(0, after(week)), Verdict::Expired);
        let refreshed = begun().rotated(1, after(week - 1));
        assert_eq!(refreshed.judge(1, after(2 * week - 2)), Verdict::Rotate(2));
        assert_eq!(refreshed.judge(1, after(2 * week - 1)), Verdict::Expired);
        assert_eq!(refreshed.judge(0, after(2 * week - 1)), Verdict::Expired);
    }

    #[test]
    fn what_a_client_calls_itself_is_cut_and_cleaned() {
        let session = Session::new(Uuid::nil(), &format!("a\r\n{}", "é".repeat(300)), String::new(), START);
        assert_eq!(session.user_agent.chars().count(), 200);
        assert!(session.user_agent.starts_with("aé"));
    }

    proptest! {
        /// Two holders of one family, one of them a thief, in any order and at any pace: as soon as
        /// both used what they have, the family is gone, and there is never a second live branch.
        #[test]
        fn a_family_has_one_live_branch(steps in prop::collection::vec((any::<bool>(), 0i64..40), 1..60)) {
            let mut session = begun();
            let mut now = START;
            let mut held = [0u32, 0];
            for (thief, pause) in steps {
                now += SignedDuration::from_secs(pause);
                let holder = usize::from(thief);
                match session.judge(held[holder], now) {
                    Verdict::Rotate(next) => {
                        prop_assert_eq!(next, session.generation + 1);
                        session = session.rotated(next, now);
                        held[holder] = next;
                    }
                    Verdict::Replay(newest) => {
                        prop_assert_eq!(newest, session.generation);
                        prop_assert_eq!(held[holder] + 1, newest);
                        prop_assert!(now.duration_since(session.refresh_time) <= GRACE);
                        held[holder] = newest;
                    }
                    Verdict::Reuse => {
                        prop_assert!(held[holder] < session.generation);
                        break;
                    }
                    Verdict::Expired | Verdict::Unknown => prop_assert!(false, "neither can be"),
                }
                prop_assert!(held.iter().all(|held| *held <= session.generation));
            }
        }

        #[test]
        fn only_the_newest_two_generations_are_ever_answered(newest in 0u32..1000, presented in 0u32..1000, pause in 0i64..700_000) {
            let session = begun().rotated(newest, START);
            let answered = matches!(session.judge(presented, after(pause)), Verdict::Rotate(_) | Verdict::Replay(_));
            let may = presented == newest && pause < 604_800 || presented + 1 == newest && pause <= 10;
            prop_assert_eq!(answered, may);
        }
    }
}
