//! Who is calling, and may they: the token and the contract table give a [`Caller`] or a refusal.

use errand_changelog::{Actor, UserId};
use errand_proto::contract::{Access, Method};
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::{
    error::Error,
    token::{AccessToken, Verifier},
};

/// The header in which the assistant names its turn to a peer. The edge takes it off every request
/// from outside; a user who reaches a role directly could at most mislabel changes of their own.
pub const TURN_HEADER: &str = "x-errand-turn";

/// The signed-in user behind a call; a request extension.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user, owner of everything that the call touches.
    pub user: UserId,
    /// The session that the token belongs to.
    pub session: Uuid,
    /// The user's time zone (IANA).
    pub time_zone: String,
    /// Whose hand it is.
    pub actor: Actor,
    /// The assistant's turn, when it is the assistant's hand.
    pub turn: Option<Uuid>,
    /// The token, to call a peer in the user's name.
    pub token: AccessToken,
    /// When the token ends.
    pub expires: Timestamp,
}

/// The caller of a request to a method that needs one.
///
/// # Errors
/// UNAUTHENTICATED when the stack found none, which it does not let happen for such a method.
pub fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    request.extensions().get::<Caller>().ok_or_else(|| missing().into())
}

/// Decides whether a request with these headers may call `method`.
///
/// # Errors
/// UNAUTHENTICATED with TOKEN_MISSING, TOKEN_INVALID or TOKEN_EXPIRED; PERMISSION_DENIED with
/// SCOPE_MISSING; UNAVAILABLE with KEYS_NOT_LOADED.
pub async fn decide(method: &Method, headers: &HeaderMap, verifier: &Verifier) -> Result<Option<Caller>, Error> {
    if method.access == Access::Public {
        return Ok(None);
    }
    let verified = verifier.verify_fetching(bearer(headers)?).await?;
    if !verified.allows(method.scope) {
        return Err(Error::new(
            Code::PermissionDenied,
            "SCOPE_MISSING",
            format!("this call needs the scope {}", method.scope.as_str()),
        )
        .with("scope", method.scope.as_str()));
    }
    let turn =
        headers.get(TURN_HEADER).and_then(|value| value.to_str().ok()).and_then(|text| Uuid::try_parse(text).ok());
    Ok(Some(Caller {
        user: verified.user,
        session: verified.session,
        time_zone: verified.time_zone.clone(),
        actor: if turn.is_some() { Actor::Assistant } else { Actor::User },
        turn,
        token: verified.token.clone(),
        expires: verified.expires,
    }))
}

/// The one bearer token of a request (RFC 6750).
fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(malformed());
    }
    let token = first.as_bytes().strip_prefix(b"Bearer ").filter(|token| !token.is_empty()).ok_or_else(malformed)?;
    // Without an end before the last byte, many are looked at at once.
    let is_graphic = token.iter().fold(true, |all, byte| all & byte.is_ascii_graphic() & (*byte != b','));
    std::str::from_utf8(token).ok().filter(|_| is_graphic).ok_or_else(malformed)
}

fn missing() -> Error {
    Error::new(
        Code::Unauthenticated,
        "TOKEN_MISSING",
        "this call needs the header `authorization: Bearer <access token>`; get one with SignUp or LogIn",
    )
}

fn malformed() -> Error {
    Error::new(
        Code::Unauthenticated,
        "TOKEN_INVALID",
        "the authorization header must be one `Bearer`, one space and one access token",
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn reason(values: &[&str]) -> &'static str {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        bearer(&headers).map_or_else(|error| error.reason(), |_| "OK")
    }

    #[test]
    fn r_021_the_header_is_one_scheme_one_space_one_token() {
        assert_eq!(reason(&[]), "TOKEN_MISSING");
        for bad in ["", "Bearer", "Bearer ", "Bearer  x", "Basic x", "x", "Bearer a b", "Bearer a,b", "Bearer ä"] {
            assert_eq!(reason(&[bad]), "TOKEN_INVALID", "{bad:?}");
        }
        assert_eq!(reason(&["Bearer a", "Bearer a"]), "TOKEN_INVALID");
        assert_eq!(
            reason(&["bearer a"]),
            "TOKEN_INVALID",
            "one spelling only, so that the edge and the roles can not differ"
        );
        assert_eq!(reason(&["Bearer a"]), "OK");
    }
}
