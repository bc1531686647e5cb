//! The codec of every generated client and server.
//!
//! It differs from tonic's in two answers: a message that can not be decoded is the sender's fault
//! (INVALID_ARGUMENT, and no word about Rust), and a request that breaks a rule of its contract is
//! refused here, before any handler sees it.

use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Code, Status,
    codec::{BufferSettings, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::{
    status::{self, Details},
    validation::Incoming,
};

/// Encodes `T` and decodes `U`.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

/// Decodes `U` and checks the rules of its contract.
#[derive(Debug)]
pub struct CheckedDecoder<U>(PhantomData<U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Incoming + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CheckedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder(PhantomData)
    }
}

impl<U> Decoder for CheckedDecoder<U>
where
    U: Message + Incoming + Default,
{
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let message = U::decode(source).map_err(|_| malformed())?;
        let violations = message.violations();
        if violations.is_empty() { Ok(Some(message)) } else { Err(status::invalid_fields(violations)) }
    }
}

/// The status of bytes that are no message of the expected type.
#[must_use]
pub fn malformed() -> Status {
    let details = Details { reason: "MALFORMED_MESSAGE", ..Default::default() };
    status::status(Code::InvalidArgument, "the request message is not valid protobuf for this method", &details)
}
