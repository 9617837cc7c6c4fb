//! The paths of identity, and who may read what.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use openstack_api::{
    ApiError, Caller, Dialect, JsonBody, Origin, Params, Scope, Secret, Service, parse_bool,
};
use serde_json::{Value, json};
use store::Read;

use super::access::{self, SYSTEM};
use super::auth::AuthRequest;
use super::grants::{Place, Target};
use super::object::{self, Doc, Kind, enabled};
use super::{
    Identity, app_credentials, catalog, credentials, domains, grants, groups, now, projects, roles,
    tokens, users,
};
use crate::{CatalogEntry, Failure, Mounted};

/// Header that carries the token which a request is about.
const SUBJECT: HeaderName = HeaderName::from_static("x-subject-token");

/// The service under its prefix.
pub(crate) fn mount(identity: &Identity) -> Mounted {
    let router = Router::new()
        .route("/", get(versions))
        .merge(entities())
        .merge(grant_paths())
        .merge(auth_paths())
        .with_state(identity.clone());
    let service = Service::new(Dialect::Identity).tokens(Arc::new(identity.clone()), is_open);
    Mounted {
        prefix: "/identity",
        catalog: Some(CatalogEntry {
            kind: "identity",
            name: "keystone",
            path: "",
        }),
        router: service.wrap(router),
    }
}

/// What needs no token.
fn is_open(method: &Method, path: &str) -> bool {
    let own_password = || {
        let inner = path
            .strip_prefix("/v3/users/")
            .and_then(|rest| rest.strip_suffix("/password"));
        inner.is_some_and(|user| !user.is_empty() && !user.contains('/'))
    };
    path == "/"
        || path == "/v3"
        || (*method == Method::POST && (path == "/v3/auth/tokens" || own_password()))
}

fn entities() -> Router<Identity> {
    let mut router = Router::new()
        .route("/v3/domains", get(domains::list).post(domains::create))
        .route(
            "/v3/domains/{id}",
            get(domains::show)
                .patch(domains::update)
                .delete(domains::delete),
        )
        .route("/v3/projects", get(projects::list).post(projects::create))
        .route(
            "/v3/projects/{id}",
            get(projects::show)
                .patch(projects::update)
                .delete(projects::delete),
        )
        .route(
            "/v3/projects/{id}/tags",
            get(projects::list_tags)
                .put(projects::set_tags)
                .delete(projects::clear_tags),
        )
        .route(
            "/v3/projects/{id}/tags/{tag}",
            get(projects::has_tag)
                .put(projects::add_tag)
                .delete(projects::remove_tag),
        )
        .route("/v3/users", get(users::list).post(users::create))
        .route(
            "/v3/users/{id}",
            get(users::show).patch(users::update).delete(users::delete),
        )
        .route("/v3/users/{id}/password", post(users::change_password))
        .route("/v3/users/{id}/projects", get(users::projects))
        .route("/v3/users/{id}/groups", get(users::groups))
        .route("/v3/groups", get(groups::list).post(groups::create))
        .route(
            "/v3/groups/{id}",
            get(groups::show)
                .patch(groups::update)
                .delete(groups::delete),
        )
        .route("/v3/groups/{id}/users", get(groups::members))
        .route(
            "/v3/groups/{id}/users/{user}",
            get(groups::has).put(groups::add).delete(groups::remove),
        )
        .route("/v3/roles", get(roles::list).post(roles::create))
        .route(
            "/v3/roles/{id}",
            get(roles::show).patch(roles::update).delete(roles::delete),
        )
        .route("/v3/roles/{id}/implies", get(roles::implies))
        .route(
            "/v3/roles/{id}/implies/{implied}",
            get(roles::implication)
                .put(roles::imply)
                .delete(roles::stop_implying),
        )
        .route("/v3/role_inferences", get(roles::inferences))
        .route(
            "/v3/users/{id}/application_credentials",
            get(app_credentials::list).post(app_credentials::create),
        )
        .route(
            "/v3/users/{id}/application_credentials/{credential}",
            get(app_credentials::show).delete(app_credentials::delete),
        )
        .route(
            "/v3/users/{id}/credentials/OS-EC2",
            get(credentials::list_ec2).post(credentials::create_ec2),
        )
        .route(
            "/v3/users/{id}/credentials/OS-EC2/{access}",
            get(credentials::show_ec2).delete(credentials::delete_ec2),
        )
        .route(
            "/v3/credentials",
            get(credentials::list).post(credentials::create),
        )
        .route(
            "/v3/credentials/{id}",
            get(credentials::show).delete(credentials::delete),
        )
        .route("/v3/regions/{id}", put(catalog::put_region));
    for kind in [Kind::Service, Kind::Endpoint, Kind::Region] {
        let all = get(
            move |a: State<Identity>, b: Caller, c: Origin, d: Params, e: Uri| {
                catalog::list(kind, a, b, c, d, e)
            },
        )
        .post(
            move |a: State<Identity>, b: Caller, c: Origin, d: JsonBody<Value>| {
                catalog::create(kind, a, b, c, d)
            },
        );
        let one = get(
            move |a: State<Identity>, b: Caller, c: Origin, d: Path<String>| {
                catalog::show(kind, a, b, c, d)
            },
        )
        .merge(patch(
            move |a: State<Identity>, b: Caller, c: Origin, d: Path<String>, e: JsonBody<Value>| {
                catalog::update(kind, a, b, c, d, e)
            },
        ))
        .delete(move |a: State<Identity>, b: Caller, d: Path<String>| {
            catalog::delete(kind, a, b, d)
        });
        router = router
            .route(&format!("/v3/{}", kind.many()), all)
            .route(&format!("/v3/{}/{{id}}", kind.many()), one);
    }
    router
}

/// Grants on projects, domains and the system, for users and groups, and those that projects inherit.
fn grant_paths() -> Router<Identity> {
    type Ids = Path<Vec<(String, String)>>;
    let mut router = Router::new().route("/v3/role_assignments", get(grants::assignments));
    for (target, base) in [
        (Target::Project, "projects/{target}"),
        (Target::Domain, "domains/{target}"),
        (Target::System, "system"),
    ] {
        for actor in [Kind::User, Kind::Group] {
            for inherited in [false, true] {
                if inherited && target == Target::System {
                    continue;
                }
                let place = Place {
                    target,
                    actor,
                    inherited,
                };
                let (head, tail) = if inherited {
                    ("/OS-INHERIT", "/inherited_to_projects")
                } else {
                    ("", "")
                };
                // The router wants one name for one place, and projects are also at `/projects/{id}`.
                let list = format!("/v3{head}/{base}/{}/{{actor}}/roles{tail}", actor.many());
                let one = format!(
                    "/v3{head}/{base}/{}/{{actor}}/roles/{{role}}{tail}",
                    actor.many()
                );
                let all = get(
                    move |a: State<Identity>, b: Caller, c: Origin, d: Ids, e: Uri| {
                        grants::list(place, a, b, c, d, e)
                    },
                );
                let single =
                    get(move |a: State<Identity>, b: Caller, d: Ids| grants::has(place, a, b, d))
                        .put(move |a: State<Identity>, b: Caller, d: Ids| {
                            grants::grant(place, a, b, d)
                        })
                        .delete(move |a: State<Identity>, b: Caller, d: Ids| {
                            grants::revoke(place, a, b, d)
                        });
                router = router.route(&list, all).route(&one, single);
            }
        }
    }
    router
}

fn auth_paths() -> Router<Identity> {
    Router::new()
        .route("/v3", get(version))
        .route("/v3/auth/tokens", get(validate).post(issue).delete(revoke))
        .route("/v3/auth/projects", get(auth_projects))
        .route("/v3/auth/domains", get(auth_domains))
        .route("/v3/auth/system", get(auth_system))
        .route("/v3/auth/catalog", get(auth_catalog))
}

/// Reading all that there is: admins, and those who read the whole system.
pub(crate) fn may_read(caller: &Caller, action: &str) -> Result<(), ApiError> {
    if caller.is_admin() || (caller.is_system() && caller.has_role("reader")) {
        Ok(())
    } else {
        Err(ApiError::not_allowed(action))
    }
}

/// What a user may read of itself.
pub(crate) fn self_or_reader(caller: &Caller, user: &str, action: &str) -> Result<(), ApiError> {
    if caller.user.id == user {
        Ok(())
    } else {
        may_read(caller, action)
    }
}

/// The domain in which a caller makes what names no other.
pub(crate) fn domain_of(caller: &Caller) -> String {
    match &caller.scope {
        Scope::Domain(domain) | Scope::Project { domain, .. } => domain.id.clone(),
        Scope::Unscoped | Scope::System => domains::DEFAULT.to_owned(),
    }
}

/// Enabled projects or domains on which a user has a role.
pub(crate) fn targets_of(read: &Read<'_>, user: &str, kind: Kind) -> Result<Vec<Doc>, Failure> {
    let mut docs = Vec::new();
    for (id, target) in access::targets(read, user)? {
        if target == kind.one() {
            docs.extend(object::get(read, kind, &id)?);
        }
    }
    Ok(docs)
}

fn version_object(origin: &Origin) -> Value {
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{}/v3/", origin.base())}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    })
}

async fn versions(origin: Origin) -> Response {
    let body = json!({"versions": {"values": [version_object(&origin)]}});
    (StatusCode::MULTIPLE_CHOICES, axum::Json(body)).into_response()
}

async fn version(origin: Origin) -> Response {
    axum::Json(json!({"version": version_object(&origin)})).into_response()
}

fn with_catalog(query: &Params) -> bool {
    // The parameter counts by being there; only a clear no takes it back.
    query
        .get("nocatalog")
        .is_none_or(|text| parse_bool(text) == Some(false))
}

async fn issue(
    State(identity): State<Identity>,
    query: Params,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    let request = AuthRequest::parse(&body)?;
    let (token, body) = identity.authenticate(request, with_catalog(&query)).await?;
    let mut response = (StatusCode::CREATED, axum::Json(body)).into_response();
    put_subject(&mut response, token.expose())?;
    Ok(response)
}

fn put_subject(response: &mut Response, token: &str) -> Result<(), ApiError> {
    let mut value = HeaderValue::from_str(token).map_err(|error| ApiError::internal(&error))?;
    value.set_sensitive(true);
    response.headers_mut().insert(SUBJECT, value);
    Ok(())
}

fn subject(headers: &HeaderMap) -> Result<Secret, ApiError> {
    let value = headers
        .get(SUBJECT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if value.is_empty() {
        return Err(ApiError::bad_request(
            "The header X-Subject-Token is missing.",
        ));
    }
    Ok(Secret::new(value))
}

fn no_token() -> ApiError {
    ApiError::not_found("Could not find token.")
}

/// Whether the subject is the caller's own token or the caller may look at all.
fn may_inspect(caller: &Caller, headers: &HeaderMap, action: &str) -> Result<(), ApiError> {
    let own = headers
        .get("x-auth-token")
        .is_some_and(|own| headers.get(SUBJECT) == Some(own));
    if own || caller.has_role("service") {
        Ok(())
    } else {
        may_read(caller, action)
    }
}

async fn validate(
    State(identity): State<Identity>,
    caller: Caller,
    query: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let token = subject(&headers)?;
    let found = identity.validate(token.expose()).await?;
    let user = found
        .as_ref()
        .map(|(_, resolved)| resolved.token.user.id.clone());
    // A user may look at its own tokens; everyone else's need the right to.
    if user.as_deref() != Some(&caller.user.id) {
        may_inspect(&caller, &headers, "identity:validate_token")?;
    }
    let Some((_, resolved)) = found else {
        return Err(no_token().into());
    };
    let body = identity
        .read(move |read| tokens::body(read, &resolved, with_catalog(&query)))
        .await?;
    let mut response = axum::Json(body).into_response();
    put_subject(&mut response, token.expose())?;
    Ok(response)
}

async fn revoke(
    State(identity): State<Identity>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let token = subject(&headers)?;
    let found = identity.validate(token.expose()).await?;
    let user = found
        .as_ref()
        .map(|(_, resolved)| resolved.token.user.id.clone());
    if user.as_deref() != Some(&caller.user.id) {
        may_inspect(&caller, &headers, "identity:revoke_token")?;
    }
    let Some((claims, _)) = found else {
        return Err(no_token().into());
    };
    identity
        .write(move |tx| tokens::revoke(tx, &claims, now()))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn auth_projects(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    uri: Uri,
) -> Result<Response, Failure> {
    let user = caller.user.id.clone();
    let mut docs = identity
        .read(move |read| targets_of(read, &user, Kind::Project))
        .await?;
    docs.retain(enabled);
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::Project,
        &docs,
    ))
}

async fn auth_domains(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    uri: Uri,
) -> Result<Response, Failure> {
    let user = caller.user.id.clone();
    let mut docs = identity
        .read(move |read| targets_of(read, &user, Kind::Domain))
        .await?;
    docs.retain(enabled);
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::Domain,
        &docs,
    ))
}

async fn auth_system(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    uri: Uri,
) -> Result<Response, Failure> {
    let user = caller.user.id.clone();
    let roles = identity
        .read(move |read| access::role_ids(read, &user, SYSTEM))
        .await?;
    let system = if roles.is_empty() {
        vec![]
    } else {
        vec![json!({"all": true})]
    };
    Ok(object::reply_values(
        &origin,
        &uri.to_string(),
        "system",
        system,
    ))
}

async fn auth_catalog(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    uri: Uri,
) -> Result<Response, Failure> {
    if caller.scope == Scope::Unscoped {
        return Err(ApiError::not_allowed("identity:get_auth_catalog").into());
    }
    let token = Arc::clone(&caller.0);
    let catalog = identity
        .read(move |read| catalog::for_token(read, &token))
        .await?;
    let services = catalog.as_array().cloned().unwrap_or_default();
    Ok(object::reply_values(
        &origin,
        &uri.to_string(),
        "catalog",
        services,
    ))
}
