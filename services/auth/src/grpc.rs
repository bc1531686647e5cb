//! `errand.auth.v1.AuthService`: decodes, calls `app`, encodes.
//!
//! The rules of the contract have been checked when a request arrives here, and who is calling is in
//! its extensions. Passwords and tokens are wrapped at once, so that nothing prints them.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_changelog::Request as Repeatable;
use errand_chassis::{
    access,
    address::{ClientAddress, PeerAddress},
    jwks::PublicKey,
    page_token::page_size,
    replay,
};
use errand_proto::auth::{self as proto, auth_service_server::AuthService};
use jiff::{SignedDuration, Timestamp};
use prost::Message;
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    app::{App, Caller, Client, Credentials, PatchMe, SignUp},
    domain::{account::Account, session::Session},
    error::Error,
};

const UPDATE_ME: &str = "/errand.auth.v1.AuthService/UpdateMe";
const LIST_SESSIONS: &str = "/errand.auth.v1.AuthService/ListSessions";

/// The most paths of a mask that are looked at.
const MASK_MOST: usize = 16;

/// The service's gRPC face.
#[derive(Debug)]
pub struct Grpc(Arc<App>);

impl Grpc {
    /// A face of this service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self(app)
    }
}

#[tonic::async_trait]
impl AuthService for Grpc {
    async fn sign_up(&self, request: Request<proto::SignUpRequest>) -> Result<Response<proto::SignUpResponse>, Status> {
        let client = client(&request);
        let message = request.into_inner();
        let sign_up = SignUp {
            email: message.email,
            password: SecretString::from(message.password),
            display_name: message.display_name,
            time_zone: message.time_zone,
        };
        let (account, credentials) = self.0.sign_up(&client, sign_up).await.map_err(status)?;
        Ok(Response::new(proto::SignUpResponse {
            user: Some(user(account)),
            credentials: Some(credentials_out(&credentials)),
        }))
    }

    async fn log_in(&self, request: Request<proto::LogInRequest>) -> Result<Response<proto::LogInResponse>, Status> {
        let client = client(&request);
        let message = request.into_inner();
        let password = SecretString::from(message.password);
        let (account, credentials) = self.0.log_in(&client, &message.email, password).await.map_err(status)?;
        Ok(Response::new(proto::LogInResponse {
            user: Some(user(account)),
            credentials: Some(credentials_out(&credentials)),
        }))
    }

    async fn refresh_token(
        &self,
        request: Request<proto::RefreshTokenRequest>,
    ) -> Result<Response<proto::RefreshTokenResponse>, Status> {
        let client = client(&request);
        let token = SecretString::from(request.into_inner().refresh_token);
        let credentials = self.0.refresh(&client, &token).await.map_err(status)?;
        Ok(Response::new(proto::RefreshTokenResponse { credentials: Some(credentials_out(&credentials)) }))
    }

    async fn log_out(&self, request: Request<proto::LogOutRequest>) -> Result<Response<proto::LogOutResponse>, Status> {
        self.0.log_out(&caller(&request)?).await.map_err(status)?;
        Ok(Response::new(proto::LogOutResponse {}))
    }

    async fn get_me(&self, request: Request<proto::GetMeRequest>) -> Result<Response<proto::User>, Status> {
        let account = self.0.me(&caller(&request)?).await.map_err(status)?;
        Ok(Response::new(user(account)))
    }

    async fn update_me(&self, request: Request<proto::UpdateMeRequest>) -> Result<Response<proto::User>, Status> {
        let caller = caller(&request)?;
        let wish = patch_me(request.into_inner()).map_err(status)?;
        let replayed = replay::of(wish.request.as_ref());
        let account = self.0.update_me(&caller, wish).await.map_err(status)?;
        Ok(replay::answer(user(account), replayed))
    }

    async fn change_password(
        &self,
        request: Request<proto::ChangePasswordRequest>,
    ) -> Result<Response<proto::ChangePasswordResponse>, Status> {
        let (caller, client) = (caller(&request)?, client(&request));
        let message = request.into_inner();
        let (current, new) = (SecretString::from(message.current_password), SecretString::from(message.new_password));
        self.0.change_password(&caller, &client, current, new).await.map_err(status)?;
        Ok(Response::new(proto::ChangePasswordResponse {}))
    }

    async fn delete_me(
        &self,
        request: Request<proto::DeleteMeRequest>,
    ) -> Result<Response<proto::DeleteMeResponse>, Status> {
        let (caller, client) = (caller(&request)?, client(&request));
        let password = SecretString::from(request.into_inner().password);
        self.0.delete_me(&caller, &client, password).await.map_err(status)?;
        Ok(Response::new(proto::DeleteMeResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<proto::ListSessionsRequest>,
    ) -> Result<Response<proto::ListSessionsResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.into_inner();
        let size = page_size(message.page_size);
        let (sessions, next_page_token) =
            self.0.list_sessions(&caller, LIST_SESSIONS, size, &message.page_token).await.map_err(status)?;
        let sessions = sessions.into_iter().map(|session| session_out(session, &caller)).collect();
        Ok(Response::new(proto::ListSessionsResponse { sessions, next_page_token }))
    }

    async fn delete_session(
        &self,
        request: Request<proto::DeleteSessionRequest>,
    ) -> Result<Response<proto::DeleteSessionResponse>, Status> {
        let caller = caller(&request)?;
        // The contract lets nothing else through; nobody has the session of no id.
        let id = Uuid::try_parse(&request.into_inner().session_id).unwrap_or_default();
        self.0.delete_session(&caller, id).await.map_err(status)?;
        Ok(Response::new(proto::DeleteSessionResponse {}))
    }

    async fn get_jwks(&self, _: Request<proto::GetJwksRequest>) -> Result<Response<proto::GetJwksResponse>, Status> {
        let keys = self.0.keys.asked().await.iter().map(jwk).collect();
        Ok(Response::new(proto::GetJwksResponse { keys }))
    }
}

// === in ===

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = access::caller(request)?;
    Ok(Caller { user: caller.user, session: caller.session, actor: caller.actor, turn: caller.turn })
}

fn client<T>(request: &Request<T>) -> Client {
    let extensions = request.extensions();
    let address = extensions
        .get::<ClientAddress>()
        .map(|client| client.0)
        .or_else(|| extensions.get::<PeerAddress>().map(|peer| peer.0.ip()))
        .unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let user_agent = request.metadata().get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    Client { address, user_agent: user_agent.to_owned() }
}

fn patch_me(mut message: proto::UpdateMeRequest) -> Result<PatchMe, Error> {
    let request = match std::mem::take(&mut message.request_id) {
        id if id.is_empty() => None,
        id => Some(Repeatable::new(id, UPDATE_ME, &message.encode_to_vec())),
    };
    let user = message.user.unwrap_or_default();
    let mut wish = PatchMe {
        etag: (!user.etag.is_empty()).then_some(user.etag),
        request,
        validate_only: message.validate_only,
        ..PatchMe::default()
    };
    let paths = message.update_mask.unwrap_or_default().paths;
    if paths.is_empty() {
        wish.display_name = (!user.display_name.is_empty()).then_some(user.display_name);
        wish.time_zone = (!user.time_zone.is_empty()).then_some(user.time_zone);
        return Ok(wish);
    }
    if paths.len() > MASK_MOST {
        return Err(Error::Mask { path: format!("{} paths", paths.len()), reason: "TOO_MANY" });
    }
    for path in paths {
        match path.as_str() {
            "display_name" => wish.display_name = Some(user.display_name.clone()),
            "time_zone" => wish.time_zone = Some(user.time_zone.clone()),
            "id" | "email" | "etag" | "create_time" | "update_time" => {
                return Err(Error::Mask { path, reason: "READ_ONLY" });
            }
            _ => return Err(Error::Mask { path: path.chars().take(64).collect(), reason: "UNKNOWN_FIELD" }),
        }
    }
    Ok(wish)
}

// === out ===

fn status(error: Error) -> Status {
    errand_chassis::Error::from(error).into()
}

fn user(account: Account) -> proto::User {
    proto::User {
        id: account.id.to_string(),
        etag: account.etag(),
        email: account.email,
        display_name: account.display_name,
        time_zone: account.time_zone,
        create_time: Some(timestamp(account.create_time)),
        update_time: Some(timestamp(account.update_time)),
    }
}

fn credentials_out(credentials: &Credentials) -> proto::Credentials {
    proto::Credentials {
        access_token: credentials.access_token.expose_secret().to_owned(),
        expires_in: Some(duration(credentials.expires_in)),
        refresh_token: credentials.refresh_token.expose_secret().to_owned(),
    }
}

fn session_out(session: Session, caller: &Caller) -> proto::Session {
    proto::Session {
        id: session.id.to_string(),
        current: session.id == caller.session,
        user_agent: session.user_agent,
        ip_address: session.ip_address,
        create_time: Some(timestamp(session.create_time)),
        refresh_time: Some(timestamp(session.refresh_time)),
        expire_time: Some(timestamp(session.expire_time)),
    }
}

fn jwk(key: &PublicKey) -> proto::JsonWebKey {
    proto::JsonWebKey {
        kty: "EC".to_owned(),
        r#use: "sig".to_owned(),
        alg: "ES256".to_owned(),
        kid: key.kid.clone(),
        crv: "P-256".to_owned(),
        x: URL_SAFE_NO_PAD.encode(&key.x),
        y: URL_SAFE_NO_PAD.encode(&key.y),
    }
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

fn duration(duration: SignedDuration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
}

#[cfg(test)]
mod tests;
