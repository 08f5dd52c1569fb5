//! The endpoints. Each is served and documented from the same line of a table, so that neither can be without the other.

use actix_web::{
    FromRequest, Handler, HttpResponse, Resource, Responder, ResponseError, Route,
    http::{Method, header},
    web,
};
use utoipa::openapi::{HttpMethod, RefOr, Schema, path::Operation};

use crate::{
    ApiError,
    error::Code,
    openapi::{Describe, Description, Tag},
};

/// Schemas by their names.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// Endpoints that are served below one path.
pub(crate) struct Endpoints(Vec<Endpoint>);

/// A handler with its method and path, and what there is to say of it.
pub(crate) struct Endpoint {
    pub(crate) tag: Tag,
    /// The handler's module and name, unique among all.
    pub(crate) name: &'static str,
    /// Below the path of all, with actix's patterns in it.
    pub(crate) path: String,
    pub(crate) methods: Vec<HttpMethod>,
    /// The errors that only the handler itself can tell of.
    pub(crate) codes: &'static [Code],
    /// What `#[utoipa::path]` made of the handler's documentation.
    pub(crate) operation: fn() -> Operation,
    pub(crate) schemas: fn(&mut Schemas),
    /// What the types of the handler's arguments and of its answer tell.
    pub(crate) describe: fn(&mut Description),
    routes: Vec<(Method, Route)>,
}

/// The endpoints of a module, under a tag: `endpoints! { Caches: list; create => AlreadyExists, InvalidName; }`.
///
/// A line names a handler, which has `#[utoipa::path(get, path = "…")]`, and the errors that it answers beside those that follow
/// from the types of its arguments.
macro_rules! endpoints {
    ($tag:ident: $($($segment:ident)::+ $(=> $($code:ident),+)?;)+) => {
        $crate::endpoints::Endpoints::new(vec![
            $($crate::endpoints::endpoint!($tag, [$($($code),+)?], $($segment)::+)),+
        ])
    };
}

/// One line of [`endpoints!`]. The documentation of the handler `list` is the type `__path_list`.
macro_rules! endpoint {
    ($tag:ident, $codes:tt, $handler:ident) => {
        $crate::endpoints::endpoint!(@ $tag, $codes, [], $handler)
    };
    ($tag:ident, $codes:tt, $module:ident::$handler:ident) => {
        $crate::endpoints::endpoint!(@ $tag, $codes, [$module::], $handler)
    };
    (@ $tag:ident, [$($code:ident),*], [$($module:tt)*], $handler:ident) => {
        pastey::paste! {
            $crate::endpoints::Endpoint::new::<$($module)*[<__path_ $handler>], _, _>(
                $crate::openapi::Tag::$tag,
                concat!(module_path!(), "::", stringify!($($module)*), stringify!($handler)),
                &[$($crate::error::Code::$code),*],
                $($module)*$handler,
            )
        }
    };
}

pub(crate) use {endpoint, endpoints};

impl Endpoint {
    pub(crate) fn new<P, F, Args>(tag: Tag, name: &'static str, codes: &'static [Code], handler: F) -> Self
    where
        P: utoipa::Path + utoipa::__dev::SchemaReferences,
        F: Handler<Args, Output: Responder + Describe + 'static> + Copy,
        Args: FromRequest + Describe + 'static,
    {
        let methods = P::methods();
        let routes = methods.iter().map(|method| (method_of(method), web::to(handler))).collect();
        let describe: fn(&mut Description) = |description| {
            Args::describe(description);
            F::Output::describe(description);
        };
        Self { tag, name, path: P::path(), methods, codes, operation: P::operation, schemas: P::schemas, describe, routes }
    }
}

impl Endpoints {
    pub(crate) const fn new(endpoints: Vec<Endpoint>) -> Self {
        Self(endpoints)
    }

    /// Serves them. Where two paths fit a request, the one with the fewer parameters is meant.
    pub(crate) fn configure(mut self, config: &mut web::ServiceConfig) {
        self.0.sort_by_cached_key(|endpoint| endpoint.path.split('/').map(|part| part.contains('{')).collect::<Vec<_>>());
        let mut resources: Vec<(String, Vec<(Method, Route)>)> = Vec::new();
        for endpoint in self.0 {
            match resources.iter_mut().find(|(path, _)| *path == endpoint.path) {
                Some((_, routes)) => routes.extend(endpoint.routes),
                None => resources.push((endpoint.path, endpoint.routes)),
            }
        }
        for (path, routes) in resources {
            config.service(resource(&path, routes));
        }
    }
}

impl FromIterator<Endpoints> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoints>>(parts: I) -> Self {
        Self(parts.into_iter().flatten().collect())
    }
}

impl IntoIterator for Endpoints {
    type Item = Endpoint;
    type IntoIter = std::vec::IntoIter<Endpoint>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A resource with its methods; any other method is answered with those that there are.
pub(crate) fn resource(path: &str, routes: impl IntoIterator<Item = (Method, Route)>) -> Resource {
    let mut allowed = Vec::new();
    let mut resource = web::resource(path);
    for (method, route) in routes {
        allowed.push(method.to_string());
        resource = resource.route(route.method(method));
    }
    let allowed = allowed.join(", ");
    resource.default_service(web::to(move || std::future::ready(method_not_allowed(&allowed))))
}

fn method_not_allowed(allowed: &str) -> HttpResponse {
    let error = ApiError::new(Code::MethodNotAllowed, format!("this path takes {allowed} only"));
    let mut response = error.error_response();
    if let Ok(value) = header::HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

fn method_of(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}
