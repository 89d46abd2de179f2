//! The catalogue as the engine sees it: the part of Unity Catalog's REST interface that Sail calls, on loopback, for
//! whoever has this process's bearer.

use std::hint::black_box;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::tables::Settle;
use super::{Metastore, wire};
use crate::model::{Code, Error};

/// The start of every route, behind the name of the worker that calls.
pub(super) const BASE: &str = "/api/2.1/unity-catalog";

/// The most bytes of a body: a table of 10,000 columns with deep types has about 4 MB.
const BODY_BYTES: usize = 16 << 20;

/// Everything that the engine may call.
pub(super) fn routes(metastore: Metastore) -> Router {
    let routes = Router::new()
        .route("/schemas", get(list_databases).post(add_database))
        .route("/schemas/{name}", get(get_database).delete(drop_database))
        .route("/tables", get(list_tables).post(add_table))
        .route("/tables/{name}", get(get_table).delete(drop_table))
        .route("/staging-tables", post(add_staging))
        .route("/settle", post(settle))
        .route("/delta/preview/commits", get(list_commits).post(add_commit));
    Router::new()
        .nest(&format!("/{{worker}}{BASE}"), routes)
        .fallback(|| async { Refusal(Error::new(Code::NotFound, "there is no such route")) })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn_with_state(metastore.clone(), note_refusals))
        .layer(from_fn_with_state(metastore.clone(), only_with_bearer))
        .with_state(metastore)
}

/// An error, as the engine reads it: the status decides.
struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let status = match error.code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists => StatusCode::CONFLICT,
            Code::InvalidArgument | Code::Unsupported => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::warn!(error = %error, "the catalogue could not answer the engine");
        }
        let body = json!({ "error_code": error.code().as_str(), "message": error.message() });
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(error);
        response
    }
}

type Answer = Result<Json<Value>, Refusal>;

async fn only_with_bearer(
    State(metastore): State<Metastore>,
    request: Request,
    next: Next,
) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if given.is_some_and(|given| same(given, metastore.bearer().as_bytes())) {
        return next.run(request).await;
    }
    Refusal(Error::new(
        Code::Unauthenticated,
        "the bearer is missing or wrong",
    ))
    .into_response()
}

/// The engine tells its user the status of a refusal and not the reason: it is kept for who asked. That a table is not
/// there is how each CREATE begins, and no refusal.
async fn note_refusals(
    State(metastore): State<Metastore>,
    request: Request,
    next: Next,
) -> Response {
    let asked = request.method() == Method::GET;
    let path = request.uri().path();
    let worker = path.split('/').nth(1).unwrap_or_default().to_owned();
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<Error>()
        && !(asked && error.code() == Code::NotFound)
    {
        metastore.note_refusal(worker, error);
    }
    response
}

/// Compares in a time that tells nothing of where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a
        .iter()
        .zip(b)
        .fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    a.len() == b.len() && differences == 0
}

/// A body, whatever content type it claims to have.
fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|e| {
        Refusal(Error::new(
            Code::InvalidArgument,
            format!("the body cannot be read: {e}"),
        ))
    })
}

async fn list_databases(State(metastore): State<Metastore>) -> Answer {
    let databases = metastore.all_databases().await?;
    let databases: Vec<Value> = databases.iter().map(wire::database).collect();
    Ok(Json(json!({ "schemas": databases })))
}

async fn add_database(State(metastore): State<Metastore>, bytes: Bytes) -> Answer {
    let new: wire::NewDatabase = body(&bytes)?;
    let name = new.name()?;
    let properties = new.properties();
    let made = metastore
        .add_database(name, new.comment, properties)
        .await?;
    Ok(Json(wire::database(&made)))
}

async fn get_database(
    State(metastore): State<Metastore>,
    Path(Named { name }): Path<Named>,
) -> Answer {
    let name = wire::database_name(&name)?;
    Ok(Json(wire::database(&metastore.database(name).await?)))
}

/// The one part of a path that differs; the worker before it is read where refusals are noted.
#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Force {
    #[serde(default)]
    force: bool,
}

async fn drop_database(
    State(metastore): State<Metastore>,
    Path(Named { name }): Path<Named>,
    Query(Force { force }): Query<Force>,
) -> Answer {
    metastore
        .drop_database(wire::database_name(&name)?, force)
        .await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct OfDatabase {
    schema_name: String,
}

async fn list_tables(State(metastore): State<Metastore>, Query(of): Query<OfDatabase>) -> Answer {
    let tables = metastore.tables_of(wire::alone(&of.schema_name)?).await?;
    let listed = |table| wire::listed(table, metastore.places());
    let tables: Vec<Value> = tables.iter().map(listed).collect();
    Ok(Json(json!({ "tables": tables })))
}

async fn add_staging(State(metastore): State<Metastore>, bytes: Bytes) -> Answer {
    let new: wire::NewStaging = body(&bytes)?;
    let location = metastore.stage(new.name()?).await?;
    Ok(Json(json!({
        "id": uuid::Uuid::new_v4().to_string(),
        "staging_location": wire::uri(&metastore.for_engine(&location)),
    })))
}

#[derive(Deserialize)]
struct Worker {
    worker: String,
}

async fn add_table(
    State(metastore): State<Metastore>,
    Path(Worker { worker }): Path<Worker>,
    bytes: Bytes,
) -> Answer {
    let new: wire::NewTable = body(&bytes)?;
    let made = metastore.add_table(new, &worker).await?;
    Ok(Json(wire::table(&made, metastore.places())))
}

/// Not Unity Catalog's: what runs in the worker calls it when a statement inside a cell has ended.
async fn settle(
    State(metastore): State<Metastore>,
    Path(Worker { worker }): Path<Worker>,
) -> Answer {
    metastore.settle(&worker, Settle::Part).await?;
    Ok(Json(json!({})))
}

async fn get_table(
    State(metastore): State<Metastore>,
    Path(Named { name }): Path<Named>,
) -> Answer {
    let name = wire::table_name(&name)?;
    match metastore.record(name.clone()).await? {
        Some(table) => Ok(Json(wire::table(&table, metastore.places()))),
        None => Err(no_table(&name.to_string())),
    }
}

async fn drop_table(
    State(metastore): State<Metastore>,
    Path(Named { name }): Path<Named>,
) -> Answer {
    let name = wire::table_name(&name)?;
    if metastore.drop_table(&name).await? {
        Ok(Json(json!({})))
    } else {
        Err(no_table(&name.to_string()))
    }
}

async fn list_commits(State(metastore): State<Metastore>, bytes: Bytes) -> Answer {
    let query: wire::CommitsQuery = body(&bytes)?;
    let (commits, newest) = metastore.commits(query).await?;
    Ok(Json(wire::commits(&commits, newest)))
}

async fn add_commit(State(metastore): State<Metastore>, bytes: Bytes) -> Answer {
    let new: wire::NewCommit = body(&bytes)?;
    metastore.add_commit(new.commit(), new.table_id).await?;
    Ok(Json(json!({})))
}

fn no_table(name: &str) -> Refusal {
    Refusal(Error::new(
        Code::NotFound,
        format!("there is no table {name}"),
    ))
}

#[cfg(test)]
mod tests;
