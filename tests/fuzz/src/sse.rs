//! Server-sent events, read as a browser does (HTML, section 9.2.6).

/// An event as a page gets it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty for `message`.
    pub name: String,
    /// The data, lines joined.
    pub data: String,
    /// The last id that was seen.
    pub id: String,
}

/// The events of a stream; one that is not ended by an empty line does not count.
pub fn read(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut event = Event::default();
    let mut has_data = false;
    for line in text.replace("\r\n", "\n").replace('\r', "\n").split_terminator('\n') {
        if line.is_empty() {
            let id = event.id.clone();
            let whole = std::mem::replace(&mut event, Event { id, ..Event::default() });
            if std::mem::take(&mut has_data) {
                events.push(whole);
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "data" => {
                if has_data {
                    event.data.push('\n');
                }
                event.data.push_str(value);
                has_data = true;
            }
            "id" if !value.contains('\0') => value.clone_into(&mut event.id),
            _ => {}
        }
    }
    events
}
