use std::collections::HashMap;

use reqwest::{RequestBuilder, Url, header, redirect::Policy};
use serde_json::Value;

/// What a browser does: it follows redirects, keeps cookies for each server, and fills in the provider's forms.
pub(super) struct Browser<'s> {
    http: reqwest::Client,
    server: &'s str,
    /// By origin and name.
    cookies: HashMap<(String, String), String>,
}

/// An answer, as far as a test looks at it.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) cookies: Vec<String>,
    /// The body, when it is JSON.
    pub(super) body: Value,
    text: String,
}

impl<'s> Browser<'s> {
    pub(super) fn new(server: &'s str) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { http, server, cookies: HashMap::new() }
    }

    /// A cookie of the server.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(&(self.server.to_owned(), name.to_owned())).map(String::as_str)
    }

    pub(super) fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert((self.server.to_owned(), name.to_owned()), value.to_owned());
    }

    /// One page, without where it leads to.
    pub(super) async fn get(&mut self, url: &str) -> Page {
        self.send(self.http.get(url), url).await
    }

    /// What the server's own pages do to get the provider's URL.
    pub(super) async fn authorize(&mut self) -> String {
        let url = format!("{}/api/v1/auth/oauth/authorize", self.server);
        self.send(self.http.post(&url), &url).await.body["message"].as_str().unwrap().to_owned()
    }

    /// From this page to the provider, through its forms as this account, and up to where it sends the browser back to.
    pub(super) async fn callback(&mut self, url: &str, subject: &str) -> String {
        self.walk(url, |form| match form {
            "login" => vec![("prompt", "login"), ("login", subject), ("password", "any")],
            _ => vec![("prompt", "consent")],
        })
        .await
    }

    /// The same for a user who turns back at the first form.
    pub(super) async fn abort(&mut self, url: &str) -> String {
        let page = self.page(url).await;
        let form = self.get(&page).await;
        let abort = form.text.split('"').find(|part| part.ends_with("/abort")).unwrap().to_owned();
        let abort = absolute(&page, &abort);
        self.walk(&abort, |_| Vec::new()).await
    }

    async fn walk<'f>(&mut self, url: &str, fill: impl Fn(&str) -> Vec<(&'f str, &'f str)>) -> String {
        let mut url = url.to_owned();
        for _ in 0..20 {
            if url.starts_with(&format!("{}{}", self.server, super::CALLBACK)) {
                return url;
            }
            let page = self.get(&url).await;
            if let Some(location) = page.location {
                url = absolute(&url, &location);
                continue;
            }
            assert_eq!(page.status, 200, "{url}: {}", page.text);
            let form = if page.text.contains(r#"name="password""#) { "login" } else { "consent" };
            let filled = self.send(self.form(&url, &fill(form)), &url).await;
            url = absolute(&url, &filled.location.unwrap_or_else(|| panic!("{url}: {}", filled.text)));
        }
        panic!("going in circles at {url}");
    }

    /// Where the redirects end.
    async fn page(&mut self, url: &str) -> String {
        let mut url = url.to_owned();
        while let Some(location) = self.get(&url).await.location {
            url = absolute(&url, &location);
        }
        url
    }

    fn form(&self, url: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let written = Url::parse_with_params("form:", fields).unwrap();
        let body = written.query().unwrap_or_default().to_owned();
        self.http.post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
    }

    async fn send(&mut self, request: RequestBuilder, url: &str) -> Page {
        let origin = Url::parse(url).unwrap().origin().ascii_serialization();
        let kept = self.cookies.iter().filter(|((of, _), _)| *of == origin);
        let kept: Vec<String> = kept.map(|((_, name), value)| format!("{name}={value}")).collect();
        let request = if kept.is_empty() { request } else { request.header(header::COOKIE, kept.join("; ")) };
        let response = request.send().await.unwrap();
        let text = |value: &header::HeaderValue| value.to_str().unwrap().to_owned();
        let cookies: Vec<String> = response.headers().get_all(header::SET_COOKIE).iter().map(text).collect();
        for cookie in &cookies {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            let key = (origin.clone(), name.to_owned());
            match value {
                "" => drop(self.cookies.remove(&key)),
                value => drop(self.cookies.insert(key, value.to_owned())),
            }
        }
        let (status, location) = (response.status().as_u16(), response.headers().get(header::LOCATION).map(text));
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Page { status, location, cookies, body, text }
    }
}

fn absolute(base: &str, location: &str) -> String {
    Url::parse(base).unwrap().join(location).unwrap().into()
}
