//! What a cache says of itself.

use gradient_nix::STORE_DIR;
use serde::Serialize;

/// `nix-cache-info`: what a client asks first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CacheInfo {
    store_dir: &'static str,
    want_mass_query: bool,
    priority: u32,
}

impl CacheInfo {
    /// The content type of the text.
    pub const CONTENT_TYPE: &'static str = "text/x-nix-cache-info";

    /// Of a cache with this priority; clients ask the cache with the lowest number first.
    pub fn new(priority: u32) -> Self {
        Self { store_dir: STORE_DIR, want_mass_query: true, priority }
    }

    /// As Nix reads it.
    pub fn to_text(&self) -> String {
        let mass_query = u8::from(self.want_mass_query);
        format!("StoreDir: {}\nWantMassQuery: {mass_query}\nPriority: {}\n", self.store_dir, self.priority)
    }
}

/// `gradient-cache-info`: by what, and where, the cache is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServerInfo {
    /// The version of the server.
    pub gradient_version: String,
    /// Where its API is.
    pub gradient_url: String,
}

impl ServerInfo {
    /// In the form of `nix-cache-info`.
    pub fn to_text(&self) -> String {
        format!("GradientVersion: {}\nGradientUrl: {}\n", self.gradient_version, self.gradient_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let info = CacheInfo::new(40);
        assert_eq!(info.to_text(), "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n");
        let json = serde_json::json!({ "StoreDir": "/nix/store", "WantMassQuery": true, "Priority": 40 });
        assert_eq!(serde_json::to_value(info).unwrap(), json);
        let server = ServerInfo { gradient_version: "0.1.0".to_owned(), gradient_url: "https://ci.example".to_owned() };
        assert_eq!(server.to_text(), "GradientVersion: 0.1.0\nGradientUrl: https://ci.example\n");
        let json = serde_json::json!({ "GradientVersion": "0.1.0", "GradientUrl": "https://ci.example" });
        assert_eq!(serde_json::to_value(server).unwrap(), json);
    }
}
