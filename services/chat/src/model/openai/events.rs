//! The lines of a stream of events, as servers send them and not only as the standard says.
//!
//! Lines end with LF, CRLF or CR; comments, ids and unknown fields are passed over; an event need not be followed by
//! an empty line. What does not begin like such a stream is one JSON document, or a page for people, whatever its
//! content type says. Nothing grows without a bound.

use serde_json::Value;

/// The longest line, and the longest document, in bytes.
const LONGEST: usize = 1024 * 1024;

/// Reads pieces of an answer as they arrive.
#[derive(Debug, Default)]
pub(super) struct Events {
    form: Form,
    /// What was read of the line, or of the document.
    line: Vec<u8>,
    /// Data of an event that is no JSON yet.
    data: String,
    is_after_cr: bool,
    is_done: bool,
}

/// What an answer is, by its first letter.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Form {
    #[default]
    Unknown,
    Lines,
    Document,
}

/// Why an answer can not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("its answer is longer than any answer")]
    TooLong,
    #[error("its answer is no JSON")]
    NoJson,
    #[error("it answered with a page for people: is the address right?")]
    Page,
}

impl Events {
    /// Reads a piece, and gives each JSON value that is whole with it to `take`.
    pub(super) fn feed<E: From<Unreadable>>(
        &mut self,
        bytes: &[u8],
        take: &mut impl FnMut(Value) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        if self.form == Form::Unknown {
            // A mark of the byte order and blanks come before anything.
            let start = rest.iter().position(|byte| !b" \t\r\n\xEF\xBB\xBF".contains(byte));
            let Some(start) = start else { return Ok(()) };
            rest = rest.get(start..).unwrap_or_default();
            self.form = match rest.first() {
                Some(b'{' | b'[') => Form::Document,
                Some(b'<') => return Err(Unreadable::Page.into()),
                _ => Form::Lines,
            };
        }
        if self.form == Form::Document {
            return Ok(self.grow(rest)?);
        }
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, after) = rest.split_at(at);
            let is_second_half = self.is_after_cr && at == 0 && after.first() == Some(&b'\n');
            self.is_after_cr = after.first() == Some(&b'\r');
            rest = after.get(1..).unwrap_or_default();
            if !is_second_half {
                self.grow(line)?;
                self.line(take)?;
            }
        }
        if !rest.is_empty() {
            self.is_after_cr = false;
        }
        Ok(self.grow(rest)?)
    }

    /// Reads what has no end but that of the answer.
    pub(super) fn end<E: From<Unreadable>>(&mut self, take: &mut impl FnMut(Value) -> Result<(), E>) -> Result<(), E> {
        if self.form == Form::Document {
            let value = serde_json::from_slice(&self.line).map_err(|_| Unreadable::NoJson)?;
            self.line.clear();
            self.is_done = true;
            return take(value);
        }
        self.line(take)?;
        self.event(take)
    }

    /// Whether the server has said that this is all.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        if self.line.len() + bytes.len() > LONGEST {
            return Err(Unreadable::TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn line<E: From<Unreadable>>(&mut self, take: &mut impl FnMut(Value) -> Result<(), E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        if text.is_empty() {
            return self.event(take);
        }
        // Comments, names, ids and times to wait say nothing to us.
        let Some(data) = text.strip_prefix("data:") else { return Ok(()) };
        let data = data.trim();
        if data.is_empty() {
            return Ok(());
        }
        if data == "[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        // Nearly always an event is one line, and is told at once.
        if self.data.is_empty()
            && let Ok(value) = serde_json::from_str(data)
        {
            return take(value);
        }
        if self.data.len() + data.len() > LONGEST {
            return Err(Unreadable::TooLong.into());
        }
        if !self.data.is_empty() {
            self.data.push('\n');
        }
        self.data.push_str(data);
        Ok(())
    }

    fn event<E: From<Unreadable>>(&mut self, take: &mut impl FnMut(Value) -> Result<(), E>) -> Result<(), E> {
        if self.data.is_empty() {
            return Ok(());
        }
        let data = std::mem::take(&mut self.data);
        take(serde_json::from_str(&data).map_err(|_| Unreadable::NoJson)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<(Vec<Value>, bool), Unreadable> {
        let mut events = Events::default();
        let mut values = Vec::new();
        let mut take = |value| {
            values.push(value);
            Ok(())
        };
        for piece in pieces {
            events.feed::<Unreadable>(piece, &mut take)?;
        }
        events.end(&mut take)?;
        Ok((values, events.is_done()))
    }

    #[test]
    fn lines_end_in_every_way_and_may_be_cut_anywhere() {
        let expected = Ok((vec![json!({"a": 1}), json!({"b": 2})], true));
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(
                ": hello{end}event: x{end}data: {{\"a\": 1}}{end}{end}id: 7{end}data:{{\"b\":{end}data: 2}}{end}{end}data: [DONE]{end}{end}"
            );
            let bytes = text.as_bytes();
            for at in 0..bytes.len() {
                assert_eq!(read(&[&bytes[..at], &bytes[at..]]), expected, "{end:?} cut at {at}");
            }
        }
    }

    #[test]
    fn events_need_no_empty_line_between_them_and_no_end() {
        assert_eq!(read(&[b"data: {\"a\": 1}\ndata: {\"b\": 2}"]), Ok((vec![json!({"a": 1}), json!({"b": 2})], false)));
    }

    #[test]
    fn a_document_is_read_whatever_it_was_called() {
        assert_eq!(read(&[b"\xEF\xBB\xBF \n{\"a\"", b": 1}\n"]), Ok((vec![json!({"a": 1})], true)));
        assert_eq!(read(&[b"{\"a\""]), Err(Unreadable::NoJson));
        assert_eq!(read(&[b"<html>"]), Err(Unreadable::Page));
        assert_eq!(read(&[b"data: {]\n\n"]), Err(Unreadable::NoJson));
        assert_eq!(read(&[b"", b" \n"]), Ok((vec![], false)));
    }

    #[test]
    fn r_119_a_token_of_ten_megabytes_is_not_kept() {
        let block = [b'x'; 64 * 1024];
        let mut pieces: Vec<&[u8]> = vec![b"data: {\"a\": \""];
        pieces.extend(std::iter::repeat_n(&block[..], 160));
        assert_eq!(read(&pieces), Err(Unreadable::TooLong));
        let line = [b"data: {\"a\": ".as_slice(), &block, b"\n"].concat();
        let many: Vec<&[u8]> = std::iter::repeat_n(line.as_slice(), 20).collect();
        assert_eq!(read(&many), Err(Unreadable::TooLong), "nor in many lines");
    }
}
