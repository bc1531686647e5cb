//! Requests as bytes on a socket, for what a well-behaved client can not be made to send.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request};
use prost::Message;

/// An HTTP/1.1 answer.
#[derive(Debug)]
pub(crate) struct Http1 {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// An HTTP/2 answer, or the code of the reset that took its place.
#[derive(Debug)]
pub(crate) struct Http2 {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A gRPC-Web answer.
#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) http: Http1,
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) trailers: BTreeMap<String, String>,
}

/// One HTTP/1.1 exchange; the head is sent as it is given, plus host, length and `connection: close`.
pub(crate) fn http1(address: SocketAddr, head: &str, headers: &[(&str, &str)], body: &[u8]) -> Http1 {
    let mut request =
        format!("{head} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    parse(&answer)
}

fn parse(answer: &[u8]) -> Http1 {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP head");
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<_, _> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let rest = &answer[end + 4..];
    let chunked = headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked");
    let body = if chunked { unchunk(rest) } else { rest.to_vec() };
    Http1 { status, headers, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    body
}

/// A message with its gRPC prefix.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], length.to_be_bytes().as_slice(), message].concat()
}

/// One gRPC-Web call over HTTP/1.1, in text or binary.
pub(crate) fn web<M: Message>(address: SocketAddr, path: &str, message: &M, token: Option<&str>, text: bool) -> Web {
    let framed = framed(&message.encode_to_vec());
    let (kind, body) = if text {
        ("application/grpc-web-text", STANDARD.encode(&framed).into_bytes())
    } else {
        ("application/grpc-web+proto", framed)
    };
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", kind), ("accept", kind), ("x-grpc-web", "1")];
    if let Some(bearer) = &bearer {
        headers.push(("authorization", bearer));
    }
    let http = http1(address, &format!("POST {path}"), &headers, &body);
    unweb(http, text)
}

/// Takes a gRPC-Web answer apart.
pub(crate) fn unweb(http: Http1, text: bool) -> Web {
    let mut bytes = http.body.clone();
    if text {
        // Each flushed piece is padded for itself.
        bytes = http
            .body
            .split_inclusive(|byte| *byte == b'=')
            .fold((Vec::new(), Vec::new()), |(mut out, mut piece), part| {
                piece.extend_from_slice(part);
                if piece.len() % 4 == 0 {
                    out.extend(STANDARD.decode(&piece).unwrap());
                    piece.clear();
                }
                (out, piece)
            })
            .0;
    }
    let mut rest = bytes.as_slice();
    let (mut messages, mut trailers) = (Vec::new(), BTreeMap::new());
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let payload = &rest[5..5 + length];
        match rest[0] {
            0 => messages.push(payload.to_vec()),
            0x80 => {
                assert!(!payload.is_empty(), "an empty trailer frame");
                for line in std::str::from_utf8(payload).unwrap().split_terminator("\r\n") {
                    let (name, value) = line.split_once(':').unwrap();
                    assert_eq!(name, name.to_ascii_lowercase());
                    assert!(!value.starts_with(' '), "{line:?}");
                    trailers.insert(name.to_owned(), value.to_owned());
                }
            }
            flag => panic!("a frame with the flag {flag}"),
        }
        rest = &rest[5 + length..];
    }
    if trailers.is_empty() {
        trailers = http
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("grpc-"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
    }
    Web { http, messages, trailers }
}

/// Takes an answer of Connect in envelopes apart: the messages, and what the last one says.
pub(crate) fn envelopes(answer: &Http1) -> (Vec<Vec<u8>>, serde_json::Value) {
    let (mut messages, mut rest) = (Vec::new(), answer.body.as_slice());
    loop {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let payload = &rest[5..5 + length];
        if rest[0] == 2 {
            assert_eq!(rest.len(), 5 + length, "nothing comes after the end");
            return (messages, serde_json::from_slice(payload).unwrap());
        }
        assert_eq!(rest[0], 0);
        messages.push(payload.to_vec());
        rest = &rest[5 + length..];
    }
}

impl Web {
    /// The gRPC code.
    pub(crate) fn code(&self) -> i32 {
        self.trailers["grpc-status"].parse().unwrap()
    }

    /// The reason in its ErrorInfo.
    pub(crate) fn reason(&self) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.trailers {
            headers.insert(http::HeaderName::try_from(name.as_str()).unwrap(), value.parse().unwrap());
        }
        errand_proto::status::reason(&tonic::Status::from_header_map(&headers).unwrap()).unwrap_or_default()
    }

    /// The decoded answer.
    pub(crate) fn decoded<M: Message + Default>(&self) -> M {
        assert_eq!(self.code(), 0, "{self:?}");
        let [message] = self.messages.as_slice() else { panic!("{self:?}") };
        M::decode(message.as_slice()).unwrap()
    }
}

/// One HTTP/2 exchange with exactly these headers and these pieces of body.
pub(crate) async fn http2(address: SocketAddr, request: Request<()>, body: Vec<Bytes>) -> Result<Http2, h2::Error> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) =
        h2::client::Builder::new().max_header_list_size(1 << 20).handshake::<_, Bytes>(stream).await?;
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await?;
    let (answer, mut upload) = client.send_request(request, body.is_empty())?;
    let count = body.len();
    for (index, piece) in body.into_iter().enumerate() {
        upload.send_data(piece, index + 1 == count)?;
    }
    let (head, mut download) = answer.await?.into_parts();
    let mut received = Vec::new();
    while let Some(piece) = download.data().await {
        let piece = piece?;
        download.flow_control().release_capacity(piece.len())?;
        received.extend_from_slice(&piece);
    }
    let trailers = download.trailers().await?.unwrap_or_default();
    driver.abort();
    Ok(Http2 { status: head.status.as_u16(), headers: head.headers, trailers, body: received })
}

impl Http2 {
    /// Code and reason, from trailers or from headers.
    pub(crate) fn refusal(&self) -> (i32, String) {
        let from = if self.trailers.contains_key("grpc-status") { &self.trailers } else { &self.headers };
        let status = tonic::Status::from_header_map(from).unwrap_or_else(|| panic!("no grpc-status: {self:?}"));
        (status.code() as i32, errand_proto::status::reason(&status).unwrap_or_default())
    }
}

/// A gRPC request over HTTP/2 to a path.
pub(crate) fn grpc(address: SocketAddr, path: &str) -> http::request::Builder {
    Request::builder()
        .method("POST")
        .uri(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}
