//! One statement with its values, ready to be sent as often as it takes.

use jiff::Timestamp;
use sqlx::Arguments as _;
use sqlx::{
    Decode, Encode, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid},
};

const TIMESTAMPTZ: PgTypeInfo = PgTypeInfo::with_oid(Oid(1184));
const TIMESTAMPTZ_ARRAY: PgTypeInfo = PgTypeInfo::with_oid(Oid(1185));
/// From the epoch of Unix to that of PostgreSQL, the year 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// One statement and its values, which are encoded already: it belongs to nobody and can be sent again.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    pub(super) arguments: PgArguments,
    /// Why a value could not be encoded; the statement is never sent then.
    pub(super) broken: Option<String>,
}

/// A point in time as `TIMESTAMPTZ` keeps it, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Timestamp);

// === impl Statement ===

impl Statement {
    /// A statement; `name` is what spans and logs call it.
    #[must_use]
    pub fn new(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql, arguments: PgArguments::default(), broken: None }
    }

    /// Gives the next parameter its value: the first call is `$1`.
    #[must_use]
    pub fn bind<'v, T>(mut self, value: T) -> Self
    where
        T: Encode<'v, sqlx::Postgres> + Type<sqlx::Postgres>,
    {
        if let Err(error) = self.arguments.add(value) {
            self.broken.get_or_insert(error.to_string());
        }
        self
    }
}

// === impl Time ===

impl Type<sqlx::Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        TIMESTAMPTZ
    }
}

impl PgHasArrayType for Time {
    fn array_type_info() -> PgTypeInfo {
        TIMESTAMPTZ_ARRAY
    }
}

impl Encode<'_, sqlx::Postgres> for Time {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.as_microsecond().checked_sub(EPOCH_MICROS).ok_or("no time of PostgreSQL")?;
        buffer.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl<'r> Decode<'r, sqlx::Postgres> for Time {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a time comes as text".into());
        }
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        let unix = micros.checked_add(EPOCH_MICROS).ok_or("a time is infinite")?;
        Ok(Self(Timestamp::from_microsecond(unix)?))
    }
}
