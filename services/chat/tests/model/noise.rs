//! Random bytes and damaged streams in place of an answer: an error or an answer, never a panic, never without a bound.

use errand_chat::model::{ModelError, Step, openai::read};
use proptest::prelude::*;

const STREAM: &str = concat!(
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi \"}}]}\r\n\r\n",
    ": comment\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"there\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"list_tasks\",\"arguments\":\"{\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
    "data: [DONE]\n\n",
);

/// How many cases: `ERRAND_BATTERY=full` runs the size that the battery names.
fn cases() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let full = std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full");
    if full { 1_000_000 } else { 2_000 }
}

fn outcome(bytes: &[u8], size: usize) -> Result<Step, ModelError> {
    read(bytes.chunks(size.max(1)), &mut |_: &str| {}).map(|answer| answer.step)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn r_063_any_bytes_are_an_answer_or_an_error(bytes in bytes(), size in 1_usize..100) {
        _ = outcome(&bytes, size);
    }

    #[test]
    fn r_063_a_damaged_stream_is_an_answer_or_an_error(
        damage in proptest::collection::vec((0..STREAM.len(), any::<u8>()), 0..8),
        cut in 0..=STREAM.len(),
        size in 1_usize..100,
    ) {
        let mut bytes = STREAM.as_bytes().to_vec();
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        _ = outcome(&bytes[..cut], size);
    }

    #[test]
    fn a_stream_means_the_same_however_it_is_cut(size in 1_usize..600) {
        let whole = outcome(STREAM.as_bytes(), STREAM.len());
        let is_one_call = matches!(&whole, Ok(Step::Call(calls)) if calls.len() == 1 && calls[0].arguments.is_object());
        prop_assert!(is_one_call, "{whole:?}");
        prop_assert_eq!(outcome(STREAM.as_bytes(), size), whole);
    }

    #[test]
    fn r_063_json_of_any_shape_is_an_answer_or_an_error(value in json(4)) {
        let document = value.to_string();
        _ = outcome(document.as_bytes(), 7);
        let stream = format!("data: {document}\n\ndata: {{\"choices\": [{{\"delta\": {document}, \"message\": {document}}}]}}\n\n");
        _ = outcome(stream.as_bytes(), 11);
    }
}

/// Up to two thousand bytes, eight at a time: of each by itself making one up costs more than reading it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    (proptest::collection::vec(any::<u64>(), 0..250), 0..8_usize).prop_map(|(words, less)| {
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.truncate(bytes.len().saturating_sub(less));
        bytes
    })
}

/// JSON with the names that an answer has, in any place.
fn json(depth: u32) -> impl Strategy<Value = serde_json::Value> {
    let name = prop_oneof![
        Just("choices"),
        Just("delta"),
        Just("message"),
        Just("content"),
        Just("tool_calls"),
        Just("function"),
        Just("name"),
        Just("arguments"),
        Just("index"),
        Just("id"),
        Just("usage"),
        Just("prompt_tokens"),
        Just("finish_reason"),
        Just("error"),
        Just("code"),
        Just("text"),
        Just("function_call"),
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        ".{0,20}".prop_map(serde_json::Value::from),
        Just(serde_json::Value::from("<think>")),
        Just(serde_json::Value::from("</think>")),
    ];
    leaf.prop_recursive(depth, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            proptest::collection::vec((name.clone(), inner), 0..5)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}
