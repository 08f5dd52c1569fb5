//! What the types in a handler's signature tell about its endpoint.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        Content, Ref, RefOr, Required, Response, Schema,
        path::{Parameter, ParameterIn},
        request_body::{RequestBody, RequestBodyBuilder},
    },
};

use super::permission::{Credentials, Permission};
use crate::error::Code;

/// An extractor, or an answer, that has something to say about every endpoint it is used in.
pub(crate) trait Describe {
    /// Adds what it has to say.
    fn describe(_: &mut Description) {}
}

/// Collects what is said.
pub(crate) struct Description {
    pub(super) permission: Permission,
    pub(super) credentials: Credentials,
    pub(super) form: Form,
    pub(super) query: Vec<Parameter>,
    pub(super) body: Option<RequestBody>,
    pub(super) answer: Option<Response>,
    pub(super) errors: BTreeSet<Code>,
    pub(super) request_schemas: Vec<(String, RefOr<Schema>)>,
    pub(super) answer_schemas: Vec<(String, RefOr<Schema>)>,
}

/// What errors look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// An envelope.
    Envelope,
    /// A line of text, as Nix shows it; with `?json` an envelope.
    Text,
}

impl Description {
    pub(super) fn new() -> Self {
        Self {
            permission: Permission::None,
            credentials: Credentials::Unused,
            form: Form::Envelope,
            query: Vec::new(),
            body: None,
            answer: None,
            errors: BTreeSet::from([Code::RateLimited, Code::Internal, Code::Unavailable]),
            request_schemas: Vec::new(),
            answer_schemas: Vec::new(),
        }
    }

    /// Whoever lacks the permission is refused with one of the errors. Of two permissions the stricter one counts.
    pub(crate) fn needs(&mut self, permission: Permission, credentials: Credentials, errors: &[Code]) {
        self.permission = self.permission.max(permission);
        self.credentials = self.credentials.max(credentials);
        self.errors.extend(errors);
        if self.credentials != Credentials::Unused {
            self.errors.insert(Code::Unauthorized);
        }
    }

    /// Its errors are text.
    pub(crate) const fn in_text(&mut self) {
        self.form = Form::Text;
    }

    pub(crate) fn fails_with(&mut self, error: Code) {
        self.errors.insert(error);
    }

    /// A JSON body of this type is taken.
    pub(crate) fn takes<T: ToSchema>(&mut self, required: Required) {
        let schema = reference::<T>(&mut self.request_schemas);
        let body = RequestBodyBuilder::new().required(Some(required)).content("application/json", Content::new(Some(schema)));
        self.body = Some(body.build());
        self.errors.extend([Code::BadRequest, Code::PayloadTooLarge, Code::RequestTimeout]);
    }

    /// The payload of the answer is of this type.
    pub(crate) fn answers<T: ToSchema>(&mut self) {
        let payload = reference::<T>(&mut self.answer_schemas);
        self.answer = Some(super::answers::success(payload));
    }
}

/// The schema of a type: by its name when it has a description of its own, which standard types have not.
fn reference<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) -> RefOr<Schema> {
    T::schemas(schemas);
    let schema = T::schema();
    let has_name = match &schema {
        RefOr::T(Schema::Object(object)) => object.description.is_some(),
        RefOr::T(Schema::OneOf(one_of)) => one_of.description.is_some(),
        RefOr::T(Schema::AllOf(all_of)) => all_of.description.is_some(),
        _ => false,
    };
    if has_name {
        let name = T::name().into_owned();
        schemas.push((name.clone(), schema));
        return Ref::from_schema_name(name).into();
    }
    schema
}

impl<T: Describe, E> Describe for Result<T, E> {
    fn describe(description: &mut Description) {
        T::describe(description);
    }
}

impl<T: IntoParams> Describe for web::Query<T> {
    fn describe(description: &mut Description) {
        description.query.extend(T::into_params(|| Some(ParameterIn::Query)));
        description.fails_with(Code::BadRequest);
    }
}

/// What is named in a path may not be there.
impl<T> Describe for web::Path<T> {
    fn describe(description: &mut Description) {
        description.fails_with(Code::NotFound);
    }
}

impl<T> Describe for web::Data<T> {}

/// An answer without an envelope.
impl<T: ToSchema> Describe for web::Json<T> {
    fn describe(description: &mut Description) {
        let schema = reference::<T>(&mut description.answer_schemas);
        description.answer = Some(super::answers::plain(schema));
    }
}

impl Describe for HttpRequest {}

/// Anything: the handler's own documentation says what.
impl Describe for HttpResponse {}

macro_rules! tuples {
    ($(($($part:ident),*))+) => {
        $(
            impl<$($part: Describe),*> Describe for ($($part,)*) {
                fn describe(_description: &mut Description) {
                    $($part::describe(_description);)*
                }
            }
        )+
    };
}

tuples! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }
