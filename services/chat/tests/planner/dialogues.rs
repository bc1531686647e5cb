//! Utterances and dialogues that were written without looking at how the planner reads.
//!
//! The tables in `dialogues/` hold them: what is said, what must be written. Two figures count: how many
//! are right, and how many wrote something that nobody asked for. A question where a write would have
//! been better is not right, but it harms nobody; a wrong write does.

use crate::talk::Talk;

const TABLES: [(&str, &str); 8] = [
    ("adding", include_str!("dialogues/adding.txt")),
    ("several", include_str!("dialogues/several.txt")),
    ("finishing", include_str!("dialogues/finishing.txt")),
    ("removing", include_str!("dialogues/removing.txt")),
    ("changing", include_str!("dialogues/changing.txt")),
    ("looking", include_str!("dialogues/looking.txt")),
    ("talking", include_str!("dialogues/talking.txt")),
    ("second", include_str!("dialogues/second.txt")),
];

/// How a dialogue went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// As the row has it first.
    Best,
    /// As the row also allows: mostly a question where an answer would have been better.
    Right,
    /// Less than was asked for, or other words.
    Wrong,
    /// Something was written that nobody asked for.
    WrongWrite,
}

/// A dialogue of a table.
struct Dialogue<'a> {
    said: Vec<&'a str>,
    /// What may be written, best first.
    accepted: Vec<Vec<String>>,
    /// Words of the last reply.
    words: Vec<String>,
}

impl<'a> Dialogue<'a> {
    fn read(line: &'a str) -> Self {
        let (said, rest) = line.split_once(" => ").unwrap_or_else(|| panic!("no => in {line}"));
        let (effects, words) = rest.split_once(" ?? ").unwrap_or((rest, ""));
        let lower = |text: &str| text.trim().to_lowercase();
        let accepted = effects
            .split(" || ")
            .map(|way| {
                sorted(way.split("; ").map(lower).filter(|effect| !effect.is_empty() && effect != "-").collect())
            })
            .collect();
        let words = words.split('|').map(lower).filter(|word| !word.is_empty()).collect();
        Dialogue { said: said.split(" >> ").collect(), accepted, words }
    }

    fn judge(&self, written: &[String], reply: &str) -> Verdict {
        let written = sorted(written.iter().map(|effect| effect.to_lowercase()).collect());
        if self.accepted.contains(&written) {
            let best = self.accepted.first() == Some(&written);
            let reply = reply.to_lowercase();
            return if self.words.iter().all(|word| reply.contains(word)) {
                if best { Verdict::Best } else { Verdict::Right }
            } else {
                Verdict::Wrong
            };
        }
        if self.accepted.iter().any(|way| within(&written, way)) { Verdict::Wrong } else { Verdict::WrongWrite }
    }
}

fn sorted(mut effects: Vec<String>) -> Vec<String> {
    effects.sort();
    effects
}

/// Whether everything of `some` is in `all`, as often as there.
fn within(some: &[String], all: &[String]) -> bool {
    let mut left = all.to_vec();
    some.iter().all(|effect| left.iter().position(|one| one == effect).map(|at| left.remove(at)).is_some())
}

#[test]
fn people_who_never_saw_the_planner_are_understood() {
    let (mut right, mut all) = (0, 0);
    let (mut second, mut wrong, mut harmful) = (Vec::new(), Vec::new(), Vec::new());
    for (name, table) in TABLES {
        let (mut right_here, mut all_here) = (0, 0);
        let mut tasks = Vec::new();
        for line in table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("# ")) {
            if let Some(list) = line.strip_prefix("tasks:") {
                tasks = list.split(';').map(str::trim).collect();
                continue;
            }
            let dialogue = Dialogue::read(line);
            let mut worst = (Verdict::Best, String::new());
            for remembers_calls in [true, false] {
                let mut talk = Talk { remembers_calls, ..Talk::with(&tasks) };
                let reply = dialogue.said.iter().map(|message| talk.say(message)).last().unwrap();
                let verdict = dialogue.judge(&talk.fake.effects, &reply);
                if verdict > worst.0 {
                    let report = format!("{name}: {line}\n   wrote {:?}\n   replied {reply:?}", talk.fake.effects);
                    worst = (verdict, report);
                }
            }
            all_here += 1;
            match worst.0 {
                Verdict::Best => right_here += 1,
                Verdict::Right => {
                    right_here += 1;
                    second.push(worst.1);
                }
                Verdict::Wrong => wrong.push(worst.1),
                Verdict::WrongWrite => harmful.push(worst.1),
            }
        }
        println!("{name}: {right_here} of {all_here} are right");
        right += right_here;
        all += all_here;
    }
    println!("{right} of {all} are right ({} of them second best), {} are wrong writes", second.len(), harmful.len());
    for report in &second {
        println!("second best: {report}");
    }
    for report in &wrong {
        println!("not right: {report}");
    }
    for report in &harmful {
        println!("WRONG WRITE: {report}");
    }
    assert!(all >= 300, "{all} dialogues");
    assert!(harmful.is_empty(), "{} wrong writes", harmful.len());
    assert!(right * 100 >= all * 98, "{right} of {all} are right");
}
