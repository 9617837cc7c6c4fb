//! Logging in: reads the request, proves who it is, finds the scope, issues a token.
//!
//! Every failure after a well-formed request is the same 401, so that nobody learns which part was wrong.

use openstack_api::{ApiError, Secret};
use rand::TryRngCore;
use serde_json::{Map, Value};
use store::Read;

use super::fernet::{Claims, METHODS, Target};
use super::object::{self, Doc, Kind, text};
use super::tokens::{self, Resolved};
use super::{Identity, app_credentials, logins, now};
use crate::Failure;

/// A domain named in a request.
#[derive(Debug, Clone)]
enum DomainRef {
    Id(String),
    Name(String),
}

/// A user or project named in a request.
#[derive(Debug, Clone)]
enum Reference {
    Id(String),
    Name(String, DomainRef),
}

/// The scope that a request asks for.
#[derive(Debug, Clone)]
enum Wanted {
    /// None is named: the default project, if the user has one.
    Default,
    Unscoped,
    System,
    Domain(DomainRef),
    Project(Reference),
}

/// One proof of who it is.
#[derive(Debug, Clone)]
enum Proof {
    Password(Reference, Secret),
    Token(Secret),
    AppCredential {
        id: Option<String>,
        name: Option<(String, Reference)>,
        secret: Secret,
    },
}

/// A request for a token, read and checked for form.
#[derive(Debug, Clone)]
pub(crate) struct AuthRequest {
    proofs: Vec<Proof>,
    wanted: Wanted,
}

/// Who the proofs say it is.
struct Proven {
    user: String,
    methods: u8,
    /// Of the token that was shown, if one was.
    expires: Option<i64>,
    first_audit: Option<[u8; 16]>,
    app_credential: Option<Doc>,
}

type Object = Map<String, Value>;

fn required<'a>(from: &'a Object, key: &str) -> Result<&'a Value, ApiError> {
    from.get(key)
        .ok_or_else(|| ApiError::bad_request(format!("'{key}' is a required property")))
}

fn object<'a>(from: &'a Object, key: &str) -> Result<&'a Object, ApiError> {
    let found = required(from, key)?;
    found.as_object().ok_or_else(|| {
        ApiError::bad_request(format!(
            "Invalid input for field '{key}': it is not an object."
        ))
    })
}

fn string(from: &Object, key: &str) -> Result<Option<String>, ApiError> {
    match from.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ApiError::bad_request(format!(
            "Invalid input for field '{key}': it is not a text."
        ))),
    }
}

fn secret(from: &Object, key: &str) -> Result<Secret, ApiError> {
    string(from, key)?
        .map(Secret::new)
        .ok_or_else(|| ApiError::bad_request(format!("'{key}' is a required property")))
}

fn domain_ref(from: &Object) -> Result<DomainRef, ApiError> {
    match (string(from, "id")?, string(from, "name")?) {
        (Some(id), _) => Ok(DomainRef::Id(id)),
        (None, Some(name)) => Ok(DomainRef::Name(name)),
        (None, None) => Err(ApiError::bad_request("A domain needs an 'id' or a 'name'.")),
    }
}

fn reference(from: &Object, what: &str) -> Result<Reference, ApiError> {
    if let Some(id) = string(from, "id")? {
        return Ok(Reference::Id(id));
    }
    match string(from, "name")? {
        Some(name) => Ok(Reference::Name(name, domain_ref(object(from, "domain")?)?)),
        None => Err(ApiError::bad_request(format!(
            "A {what} needs an 'id', or a 'name' and a 'domain'."
        ))),
    }
}

impl AuthRequest {
    /// Reads the body of `POST /v3/auth/tokens`.
    pub(crate) fn parse(body: &Value) -> Result<Self, ApiError> {
        let outer = body
            .as_object()
            .ok_or_else(|| ApiError::bad_request("The body must be an object."))?;
        let auth = object(outer, "auth")?;
        let identity = object(auth, "identity")?;
        let methods = required(identity, "methods")?.as_array().ok_or_else(|| {
            ApiError::bad_request("Invalid input for field 'methods': it is not a list.")
        })?;
        let mut proofs = Vec::new();
        for method in methods {
            let name = method.as_str().ok_or_else(|| {
                ApiError::bad_request(
                    "Invalid input for field 'methods': it holds what is not a text.",
                )
            })?;
            proofs.push(proof(identity, name)?);
        }
        if proofs.is_empty() {
            return Err(ApiError::unauthorized());
        }
        Ok(Self {
            proofs,
            wanted: wanted(auth)?,
        })
    }
}

fn proof(identity: &Object, method: &str) -> Result<Proof, ApiError> {
    match method {
        "password" => {
            let user = object(object(identity, "password")?, "user")?;
            Ok(Proof::Password(
                reference(user, "user")?,
                secret(user, "password")?,
            ))
        }
        "token" => Ok(Proof::Token(secret(object(identity, "token")?, "id")?)),
        "application_credential" => {
            let part = object(identity, "application_credential")?;
            let id = string(part, "id")?;
            let name = match (&id, string(part, "name")?) {
                (None, Some(name)) => Some((name, reference(object(part, "user")?, "user")?)),
                (None, None) => {
                    return Err(ApiError::bad_request(
                        "An application credential needs an 'id' or a 'name'.",
                    ));
                }
                (Some(_), _) => None,
            };
            Ok(Proof::AppCredential {
                id,
                name,
                secret: secret(part, "secret")?,
            })
        }
        // As upstream: what is not supported cannot prove anything.
        _ => Err(ApiError::new(
            http::StatusCode::UNAUTHORIZED,
            "Attempted to authenticate with an unsupported method.",
        )),
    }
}

fn wanted(auth: &Object) -> Result<Wanted, ApiError> {
    let scope = match auth.get("scope") {
        None | Some(Value::Null) => return Ok(Wanted::Default),
        Some(Value::String(text)) if text == "unscoped" => return Ok(Wanted::Unscoped),
        Some(Value::Object(scope)) => scope,
        Some(_) => return Err(ApiError::bad_request("Invalid input for field 'scope'.")),
    };
    let named: Vec<&str> = ["project", "domain", "system", "unscoped"]
        .into_iter()
        .filter(|key| scope.contains_key(*key))
        .collect();
    match named.as_slice() {
        [] => Ok(Wanted::Default),
        ["project"] => Ok(Wanted::Project(reference(
            object(scope, "project")?,
            "project",
        )?)),
        ["domain"] => Ok(Wanted::Domain(domain_ref(object(scope, "domain")?)?)),
        ["system"] => match scope["system"].get("all") {
            Some(Value::Bool(true)) => Ok(Wanted::System),
            _ => Err(ApiError::bad_request(
                "Invalid input for field 'system': {\"all\": true} is expected.",
            )),
        },
        ["unscoped"] => Ok(Wanted::Unscoped),
        _ => Err(ApiError::bad_request(format!(
            "A token has one scope, not {}.",
            named.join(" and ")
        ))),
    }
}

fn find_domain(read: &Read<'_>, domain: &DomainRef) -> Result<Option<String>, Failure> {
    let found = match domain {
        DomainRef::Id(id) => object::get(read, Kind::Domain, id)?,
        DomainRef::Name(name) => object::find(read, Kind::Domain, "", name)?,
    };
    Ok(found.map(|doc| text(&doc, "id").to_owned()))
}

fn find(read: &Read<'_>, kind: Kind, reference: &Reference) -> Result<Option<Doc>, Failure> {
    match reference {
        Reference::Id(id) => object::get(read, kind, id),
        Reference::Name(name, domain) => match find_domain(read, domain)? {
            Some(domain) => object::find(read, kind, &domain, name),
            None => Ok(None),
        },
    }
}

impl Identity {
    /// Issues a token; gives it with its body.
    pub(crate) async fn authenticate(
        &self,
        request: AuthRequest,
        with_catalog: bool,
    ) -> Result<(Secret, Value), Failure> {
        let mut proven: Option<Proven> = None;
        for proof in request.proofs {
            let next = self.prove(proof).await?;
            proven = Some(match proven {
                None => next,
                Some(before) if before.user == next.user => Proven {
                    methods: before.methods | next.methods,
                    expires: before.expires.or(next.expires),
                    first_audit: before.first_audit.or(next.first_audit),
                    app_credential: before.app_credential.or(next.app_credential),
                    user: next.user,
                },
                Some(_) => return Err(ApiError::unauthorized().into()),
            });
        }
        let proven = proven.ok_or_else(ApiError::unauthorized)?;
        let mut audit = vec![random_id()?];
        audit.extend(proven.first_audit);
        let issued = now();
        let end = issued
            .as_microsecond()
            .saturating_add(i64::try_from(self.0.lifetime.as_micros()).unwrap_or(i64::MAX));
        let (wanted, user) = (request.wanted, proven.user.clone());
        let claims = Claims {
            user: proven.user,
            target: Target::Unscoped,
            methods: proven.methods,
            issued: issued.as_microsecond(),
            // To the second, as upstream: two tokens of one login end together.
            expires: proven.expires.unwrap_or(end - end % 1_000_000),
            audit,
            app_credential: proven
                .app_credential
                .as_ref()
                .map(|doc| text(doc, "id").to_owned()),
        };
        let app_credential = proven.app_credential;
        let (claims, body) = self
            .read(move |read| {
                let targets = candidates(read, &user, &wanted, app_credential.as_ref())?;
                for target in targets {
                    let claims = Claims {
                        target,
                        ..claims.clone()
                    };
                    if let Some(resolved) = tokens::resolve(read, &claims, issued)? {
                        let body = tokens::body(read, &resolved, with_catalog)?;
                        return Ok((claims, body));
                    }
                }
                Err(ApiError::unauthorized().into())
            })
            .await?;
        Ok((Secret::new(self.0.keys.seal(&claims)), body))
    }

    async fn prove(&self, proof: Proof) -> Result<Proven, Failure> {
        let bit = |name: &str| {
            METHODS
                .iter()
                .position(|method| *method == name)
                .map_or(0, |at| 1u8 << at)
        };
        match proof {
            Proof::Password(reference, given) => {
                let found = self
                    .read(move |read| {
                        let Some(user) = find(read, Kind::User, &reference)? else {
                            return Ok(None);
                        };
                        let id = text(&user, "id").to_owned();
                        Ok(logins::kept(read, &id)?.0.map(|hash| (id, hash)))
                    })
                    .await?;
                let (user, kept) = found.unzip();
                match (self.0.logins.verify(&given, kept).await?, user) {
                    (true, Some(user)) => Ok(proven(user, bit("password"))),
                    _ => Err(ApiError::unauthorized().into()),
                }
            }
            Proof::Token(token) => {
                let resolved = self.validate(token.expose()).await?;
                let Some((claims, resolved)) = resolved else {
                    return Err(ApiError::unauthorized().into());
                };
                if resolved.token.application_credential.is_some() {
                    // Upstream refuses to rescope what is bound to one project and a choice of roles.
                    return Err(ApiError::unauthorized().into());
                }
                Ok(Proven {
                    methods: claims.methods | bit("token"),
                    expires: Some(claims.expires),
                    first_audit: claims.audit.last().copied(),
                    user: claims.user,
                    app_credential: None,
                })
            }
            Proof::AppCredential { id, name, secret } => {
                let found = self
                    .read(move |read| {
                        let doc = match (id, name) {
                            (Some(id), _) => object::get(read, Kind::AppCredential, &id)?,
                            (None, Some((name, user))) => match find(read, Kind::User, &user)? {
                                Some(user) => object::find(
                                    read,
                                    Kind::AppCredential,
                                    text(&user, "id"),
                                    &name,
                                )?,
                                None => None,
                            },
                            (None, None) => None,
                        };
                        Ok(doc.filter(|doc| !app_credentials::expired(doc, now())))
                    })
                    .await?;
                let kept = found
                    .as_ref()
                    .map(|doc| text(doc, "secret_hash").to_owned());
                match (self.0.logins.verify(&secret, kept).await?, found) {
                    (true, Some(doc)) => {
                        let user = text(&doc, "user_id").to_owned();
                        Ok(Proven {
                            app_credential: Some(doc),
                            ..proven(user, bit("application_credential"))
                        })
                    }
                    _ => Err(ApiError::unauthorized().into()),
                }
            }
        }
    }

    /// What a token is worth now.
    pub(crate) async fn validate(
        &self,
        token: &str,
    ) -> Result<Option<(Claims, Resolved)>, Failure> {
        let Some(claims) = self.0.keys.unseal(token) else {
            return Ok(None);
        };
        self.read(move |read| {
            Ok(tokens::resolve(read, &claims, now())?.map(|resolved| (claims, resolved)))
        })
        .await
    }
}

fn proven(user: String, methods: u8) -> Proven {
    Proven {
        user,
        methods,
        expires: None,
        first_audit: None,
        app_credential: None,
    }
}

fn random_id() -> Result<[u8; 16], ApiError> {
    let mut id = [0; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut id)
        .map_err(|error| ApiError::internal(&error))?;
    Ok(id)
}

/// Scopes to try, in order. The default project is tried only where none is named.
fn candidates(
    read: &Read<'_>,
    user: &str,
    wanted: &Wanted,
    app_credential: Option<&Doc>,
) -> Result<Vec<Target>, Failure> {
    if let Some(doc) = app_credential {
        return match wanted {
            // It is bound to its project; asking for another scope is an error.
            Wanted::Default => Ok(vec![Target::Project(text(doc, "project_id").to_owned())]),
            Wanted::Unscoped | Wanted::System | Wanted::Domain(_) | Wanted::Project(_) => {
                Err(ApiError::unauthorized().into())
            }
        };
    }
    Ok(match wanted {
        Wanted::Default => {
            let user = object::get(read, Kind::User, user)?.unwrap_or_default();
            let default = text(&user, "default_project_id");
            let project = (!default.is_empty()).then(|| Target::Project(default.to_owned()));
            project.into_iter().chain([Target::Unscoped]).collect()
        }
        Wanted::Unscoped => vec![Target::Unscoped],
        Wanted::System => vec![Target::System],
        Wanted::Domain(domain) => find_domain(read, domain)?
            .map(Target::Domain)
            .into_iter()
            .collect(),
        Wanted::Project(reference) => {
            let project = find(read, Kind::Project, reference)?;
            project
                .map(|doc| Target::Project(text(&doc, "id").to_owned()))
                .into_iter()
                .collect()
        }
    })
}
