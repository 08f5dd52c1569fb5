use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::config::ConfigBuilder;
use ureq::http::{Request, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body, SendBody};

use super::DeploymentError;

/// No answer takes longer; a head commit may take 10 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A stream of lines ends with its evaluation or build.
const STREAM_LIMIT: Duration = Duration::from_mins(15);

/// A client of the REST API, and of plain HTTP on the same server.
#[derive(Debug, Clone)]
pub struct Api {
    server: String,
    token: Option<String>,
    agent: Agent,
}

/// Who vouches for servers with TLS.
#[derive(Debug, Clone)]
pub struct Authority(RootCerts);

impl Authority {
    /// Reads the certificates in a file.
    pub fn read(file: &Path) -> Result<Self, DeploymentError> {
        let failed = || DeploymentError::io(format!("reading {}", file.display()));
        let pem = fs::read(file).map_err(failed())?;
        let certificates = parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        });
        let certificates = certificates.collect::<io::Result<Vec<_>>>().map_err(failed())?;
        Ok(Self(RootCerts::new_with_certs(&certificates)))
    }
}

fn config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .timeout_connect(Some(ANSWER_LIMIT))
        .timeout_recv_response(Some(ANSWER_LIMIT))
}

impl Api {
    /// A client without credentials for the server at this URL.
    pub fn new(server: &str) -> Self {
        Self { server: server.trim_end_matches('/').to_owned(), token: None, agent: config().build().new_agent() }
    }

    /// The same, which trusts servers with TLS that this one vouches for, and no others.
    #[must_use]
    pub fn trusting(self, authority: &Authority) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(authority.0.clone())
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        Self { agent: config().tls_config(tls.build()).build().new_agent(), ..self }
    }

    /// The same, with the session or key that every request carries.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// The session or key that every request carries.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// What `GET /api/v1…` answers.
    pub fn get(&self, path: &str) -> Result<Value, DeploymentError> {
        self.call("GET", path, None)
    }

    /// What `PUT /api/v1…` answers.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value, DeploymentError> {
        self.call("PUT", path, Some(body))
    }

    /// What `POST /api/v1…` answers.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, DeploymentError> {
        self.call("POST", path, Some(body))
    }

    /// What `POST /api/v1…` answers to a form with these fields.
    pub fn post_form(&self, path: &str, fields: &[(&str, &[u8])]) -> Result<Value, DeploymentError> {
        self.call_with("POST", path, Some(Content::form(fields)))
    }

    /// What `PATCH /api/v1…` answers.
    pub fn patch(&self, path: &str, body: &Value) -> Result<Value, DeploymentError> {
        self.call("PATCH", path, Some(body))
    }

    /// What `DELETE /api/v1…` answers.
    pub fn delete(&self, path: &str) -> Result<Value, DeploymentError> {
        self.call("DELETE", path, None)
    }

    /// The lines of a stream (`POST /api/v1…`), as they come.
    pub fn stream(&self, path: &str) -> Result<Lines, DeploymentError> {
        let (request, response) = self.send("POST", path, None)?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        if status != 200 {
            return Err(refused(request, status, &body.read_to_string().unwrap_or_default()));
        }
        Ok(Lines { request, reader: BufReader::new(Box::new(body.into_reader())) })
    }

    /// Status and body of a `GET` outside of the REST API, with HTTP Basic when a user and a password are given.
    pub fn get_raw(&self, path: &str, basic: Option<(&str, &str)>) -> Result<(u16, Vec<u8>), DeploymentError> {
        let request = format!("GET {path}");
        let url = match basic {
            Some((user, password)) => format!("{}{path}", self.server.replacen("://", &format!("://{user}:{password}@"), 1)),
            None => format!("{}{path}", self.server),
        };
        let unreachable = |source| DeploymentError::Unreachable { request: request.clone(), source: Box::new(source) };
        let mut response = self.agent.get(&url).call().map_err(unreachable)?;
        let body = response.body_mut().read_to_vec().map_err(unreachable)?;
        Ok((response.status().as_u16(), body))
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, DeploymentError> {
        self.call_with(method, path, body.map(Content::json))
    }

    fn call_with(&self, method: &str, path: &str, body: Option<Content>) -> Result<Value, DeploymentError> {
        let (request, mut response) = self.send(method, path, body)?;
        let status = response.status().as_u16();
        let text = match response.body_mut().read_to_string() {
            Ok(text) => text,
            Err(source) => return Err(DeploymentError::Unreachable { request, source: Box::new(source) }),
        };
        if !(200..300).contains(&status) {
            return Err(refused(request, status, &text));
        }
        let envelope: Option<Value> = serde_json::from_str(&text).ok();
        match envelope {
            Some(Value::Object(mut fields)) if fields.get("error") == Some(&Value::Bool(false)) => {
                Ok(fields.remove("message").unwrap_or(Value::Null))
            }
            _ => Err(DeploymentError::NoEnvelope { request, body: text }),
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<Content>) -> Result<(String, Response<Body>), DeploymentError> {
        let request = format!("{method} {path}");
        let unreachable = |source| DeploymentError::Unreachable { request: request.clone(), source: Box::new(source) };
        let mut builder = Request::builder().method(method).uri(format!("{}/api/v1{path}", self.server));
        if let Some(token) = &self.token {
            builder = builder.header("authorization", format!("Bearer {token}"));
        }
        let body = match body {
            Some(content) => {
                builder = builder.header("content-type", content.media_type).header("content-length", content.bytes.len());
                SendBody::from_owned_reader(std::io::Cursor::new(content.bytes))
            }
            None => SendBody::none(),
        };
        let message = builder.body(body).map_err(|source| unreachable(ureq::Error::Http(source)))?;
        let message = self.agent.configure_request(message).timeout_recv_body(Some(STREAM_LIMIT)).build();
        let response = self.agent.run(message).map_err(unreachable)?;
        Ok((request, response))
    }
}

/// The body of a request.
struct Content {
    media_type: String,
    bytes: Vec<u8>,
}

impl Content {
    fn json(json: &Value) -> Self {
        Self { media_type: "application/json".to_owned(), bytes: json.to_string().into_bytes() }
    }

    fn form(fields: &[(&str, &[u8])]) -> Self {
        let boundary = uuid::Uuid::new_v4().simple().to_string();
        let mut bytes = Vec::new();
        for (name, value) in fields {
            bytes.extend(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").into_bytes());
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend(format!("--{boundary}--\r\n").into_bytes());
        Self { media_type: format!("multipart/form-data; boundary={boundary}"), bytes }
    }
}

fn refused(request: String, status: u16, body: &str) -> DeploymentError {
    let envelope: Value = serde_json::from_str(body).unwrap_or_default();
    let field = |name: &str| envelope.get(name).and_then(Value::as_str).map(str::to_owned);
    DeploymentError::Refused {
        request,
        status,
        code: field("code").unwrap_or_default(),
        message: field("message").unwrap_or_else(|| body.to_owned()),
    }
}

/// The lines of a stream. Each is one JSON string, handed on decoded.
pub struct Lines {
    request: String,
    reader: BufReader<Box<dyn std::io::Read + Send>>,
}

impl Iterator for Lines {
    type Item = Result<String, DeploymentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(
                serde_json::from_str(&line)
                    .map_err(|_| DeploymentError::NoEnvelope { request: self.request.clone(), body: line }),
            ),
            Err(source) => Some(Err(DeploymentError::Io { what: self.request.clone(), source })),
        }
    }
}
