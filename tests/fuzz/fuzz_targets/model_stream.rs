//! What a language model's server streams: any bytes, however they are cut, and answers that are well said in the ways
//! in which servers differ.

#![no_main]

use arbitrary::Arbitrary;
use errand_chat::model::{Answer, ModelError, Step, openai::read};
use errand_fuzz::{memory, pieces};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// What a server sends.
#[derive(Debug, Arbitrary)]
enum Sent<'a> {
    Bytes { bytes: &'a [u8], size: u8 },
    Words { words: Vec<&'a str>, style: Style, size: u8 },
    Calls { calls: Vec<Call<'a>>, style: Style, size: u8 },
}

/// How events are written.
#[derive(Debug, Arbitrary)]
struct Style {
    end: End,
    is_spaced: bool,
    has_comments: bool,
    is_crowded: bool,
    is_marked: bool,
}

#[derive(Debug, Arbitrary)]
enum End {
    Lf,
    CrLf,
    Cr,
}

/// A call of a tool, in pieces.
#[derive(Debug, Arbitrary)]
struct Call<'a> {
    name: u8,
    argument: &'a str,
    size: u8,
}

fuzz_target!(|sent: Sent| {
    match sent {
        Sent::Bytes { bytes, size } => {
            let whole = outcome(bytes, 0);
            assert_eq!(outcome(bytes, size), whole, "it means the same however it is cut");
            if let Ok(Answer { step: Step::Call(calls), .. }) = whole.0 {
                assert!(!calls.is_empty() && calls.len() <= 64);
            }
        }
        Sent::Words { words, style, size } => {
            let deltas = words.iter().map(|text| json!({"content": text})).collect();
            let text = words.concat();
            let (answer, said) = outcome(style.write(deltas).as_bytes(), size);
            let begun = text.trim_start();
            // A model may think before it says something, and "<think" is the beginning of that.
            if !begun.starts_with("<think>") {
                assert_eq!(answer.expect("it is an answer").step, Step::Reply(text.clone()));
                assert_eq!(said, text);
            }
        }
        Sent::Calls { calls, style, size } if !calls.is_empty() && calls.len() <= 64 => {
            let mut deltas = Vec::new();
            let mut wanted = Vec::new();
            for (index, call) in calls.iter().enumerate() {
                let (name, arguments) = (format!("tool_{}", call.name), json!({"title": call.argument}));
                let text = arguments.to_string();
                for (place, piece) in cut(&text, call.size).into_iter().enumerate() {
                    let function = match place {
                        0 => json!({"name": name, "arguments": piece}),
                        _ => json!({"arguments": piece}),
                    };
                    deltas.push(json!({"tool_calls": [{"index": index, "function": function}]}));
                }
                wanted.push((name, arguments));
            }
            let (answer, said) = outcome(style.write(deltas).as_bytes(), size);
            let Step::Call(calls) = answer.expect("it is an answer").step else { panic!("no calls") };
            let calls: Vec<_> = calls.into_iter().map(|call| (call.name, call.arguments)).collect();
            assert_eq!((calls, said.as_str()), (wanted, ""));
        }
        Sent::Calls { .. } => {}
    }
});

/// The answer, and what was said of it before it was whole.
fn outcome(bytes: &[u8], size: u8) -> (Result<Answer, ModelError>, String) {
    let mut said = String::new();
    let answer = memory::within((256 << 10) + 512 * bytes.len(), || {
        read(pieces(bytes, size), &mut |text: &str| said.push_str(text))
    });
    if let Ok(Answer { step: Step::Reply(text), .. }) = &answer {
        assert_eq!(&said, text, "what was said is what counts");
    }
    (answer, said)
}

/// A text in pieces of about so many bytes.
fn cut(text: &str, size: u8) -> Vec<String> {
    let size = usize::from(size).max(1);
    text.chars().collect::<Vec<_>>().chunks(size).map(|piece| piece.iter().collect()).collect()
}

impl Style {
    fn write(&self, deltas: Vec<Value>) -> String {
        let end = match self.end {
            End::Lf => "\n",
            End::CrLf => "\r\n",
            End::Cr => "\r",
        };
        let space = if self.is_spaced { " " } else { "" };
        let mut text = String::new();
        for delta in deltas {
            if self.has_comments {
                text.push_str(&format!(": still here{end}event: message{end}id: 7{end}"));
            }
            let piece = json!({"choices": [{"index": 0, "delta": delta}]});
            text.push_str(&format!("data:{space}{piece}{end}"));
            if !self.is_crowded {
                text.push_str(end);
            }
        }
        let last = match self.is_marked {
            true => "[DONE]".to_owned(),
            false => json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string(),
        };
        text + &format!("data:{space}{last}{end}{end}")
    }
}
