use std::{
    collections::HashMap,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn buckets(text: &str) -> Buckets {
    Buckets::new(text.parse().unwrap(), 1)
}

impl Buckets {
    fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().whole_at.len()).sum()
    }
}

#[test]
fn so_many_at_once_and_then_one_after_the_other() {
    let buckets = buckets("2/s:3");
    let left: Vec<_> = (0..3).map(|_| buckets.take(1, SECOND).remaining).collect();
    assert_eq!(left, [2, 1, 0]);
    let refused = buckets.take(1, SECOND);
    assert_eq!((refused.limit, refused.remaining), (3, 0));
    assert_eq!((refused.refused, refused.whole_in), (Some(SECOND / 2), SECOND * 3 / 2));
    assert_eq!(buckets.take(2, SECOND).refused, None, "another key has its own");
    let told = SECOND + SECOND / 2;
    assert!(buckets.take(1, told - Duration::from_nanos(1)).refused.is_some());
    assert_eq!(buckets.take(1, told).refused, None, "who waits as long as told may call");
    assert!(buckets.take(1, told).refused.is_some(), "once");
    assert_eq!(buckets.take(1, SECOND * 60).remaining, 2);
}

#[test]
fn replicas_share_a_quota() {
    let admitted = |replicas| {
        let buckets = Buckets::new("10/s:100".parse().unwrap(), replicas);
        let at_once = (0..200).filter(|_| buckets.take(1, SECOND).refused.is_none()).count();
        let after = (0..200).filter(|_| buckets.take(1, SECOND * 2).refused.is_none()).count();
        (at_once, after)
    };
    assert_eq!([admitted(1), admitted(4), admitted(1000)], [(100, 10), (25, 2), (1, 0)]);
}

#[test]
fn r_079_calls_side_by_side_at_the_edge_of_the_limit_are_admitted_up_to_the_limit_exactly() {
    for _ in 0..50 {
        let (buckets, admitted, together) = (buckets("1/h:50"), AtomicUsize::new(0), Barrier::new(8));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    together.wait();
                    let taken = (0..100).filter(|_| buckets.take("one", SECOND).refused.is_none()).count();
                    admitted.fetch_add(taken, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(admitted.into_inner(), 50);
    }
}

#[test]
fn r_082_a_million_keys_are_held_in_capped_memory_and_who_has_spent_most_is_forgotten_last() {
    // The clock stands: nobody gets anything back while this runs.
    let buckets = buckets("1/s:100");
    (0..101).for_each(|_| _ = buckets.take("spent", SECOND));
    (0..1_000_000).for_each(|key| assert_eq!(buckets.take(key, SECOND).refused, None, "{key}"));
    assert!(buckets.keys() <= SHARDS * MOST, "{}", buckets.keys());
    // A place is a key, a moment and a byte; a map has a power of two of them. Eight such tables is all there is.
    const { assert!(8 * SHARDS * (1 << 14) * (8 + 8 + 1) < 64 << 20) };
    assert!(buckets.take("spent", SECOND).refused.is_some());
    let forgotten = buckets.take(0, SECOND);
    assert!(forgotten.refused.is_none() && (50..98).contains(&forgotten.remaining), "{forgotten:?}");
    assert_eq!(buckets.take("stranger", SECOND * 60).remaining, 99, "what the forgotten had spent passes with time");
}

#[test]
fn who_is_whole_again_takes_no_room() {
    let buckets = buckets("10/s:10");
    for number in 0..2_000_000u32 {
        // 100,000 keys a second, each whole again after a tenth of one.
        let now = Duration::from_micros(10) * number;
        assert_eq!(buckets.take(number, now).remaining, 9, "so nobody is taken for somebody who was forgotten");
    }
    assert!(buckets.keys() <= SHARDS * MOST);
}

proptest! {
    #[test]
    fn no_window_sees_more_than_the_quota_and_who_waits_as_told_is_let_in(
        pauses in prop::collection::vec((0u64..40, 0u8..60), 1..600),
        count in 1u32..20,
        at_once in 1u32..20,
        most in 2usize..4,
    ) {
        // There is room for half of the keys: they are forgotten all the time, and are no freer for it.
        let buckets = Buckets { most, ..buckets(&format!("{count}/s:{at_once}")) };
        let (mut now, mut taken) = (Duration::ZERO, HashMap::<u8, Vec<Duration>>::new());
        for (pause, key) in pauses {
            now += Duration::from_millis(pause);
            let standing = buckets.take(key, now);
            match standing.refused {
                None => taken.entry(key).or_default().push(now),
                Some(wait) => {
                    prop_assert!(wait > Duration::ZERO && wait <= standing.whole_in);
                    prop_assert_eq!(standing.remaining, 0);
                }
            }
        }
        for times in taken.values() {
            for (first, from) in times.iter().enumerate() {
                for (more, to) in times[first..].iter().enumerate() {
                    let allowed = f64::from(at_once) + (*to - *from).as_secs_f64() * f64::from(count);
                    prop_assert!((more + 1) as f64 <= allowed + 1e-6);
                }
            }
        }
    }
}
