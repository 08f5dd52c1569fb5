//! What an answer gives for the next request: the links of OpenAPI, which clients and testers follow.

use utoipa::openapi::{RefOr, link::Link, path::Operation};

/// That an answer of one operation holds what another one asks for.
pub(super) struct Next {
    /// The operation that answered.
    after: &'static str,
    /// The operations that can follow.
    pub(super) operations: &'static [&'static str],
    /// Their parameters, and where each is found: an expression of OpenAPI.
    parameters: &'static [(&'static str, &'static str)],
}

pub(super) const NEXT: &[Next] = &[
    Next {
        after: "organizations_create",
        operations: &[
            "organizations_show",
            "organizations_change",
            "organizations_delete",
            "organizations_ssh_key",
            "members_of_organization_list",
            "roles_of_organization_create",
            "subscriptions_list",
            "workers_register",
            "projects_create",
        ],
        parameters: &[("org", "$request.body#/name")],
    },
    Next {
        after: "caches_create",
        operations: &[
            "caches_show",
            "caches_change",
            "caches_delete",
            "caches_key",
            "cache_keys_add",
            "members_of_cache_list",
            "roles_of_cache_create",
            "caches_stats",
            "upstreams_add",
            "pins_list",
            "collections_collect",
            "cache_root_info_nix_cache_info",
        ],
        parameters: &[("cache", "$request.body#/name")],
    },
    Next {
        after: "projects_create",
        operations: &[
            "projects_show",
            "projects_change",
            "projects_delete",
            "projects_details",
            "projects_deactivate",
            "projects_check_repository",
            "evaluations_evaluate",
        ],
        parameters: &[("org", "$request.path.org"), ("project", "$request.body#/name")],
    },
    Next {
        after: "roles_of_organization_create",
        operations: &["roles_of_organization_change", "roles_of_organization_delete"],
        parameters: &[("org", "$request.path.org"), ("id", "$response.body#/message")],
    },
    Next {
        after: "roles_of_cache_create",
        operations: &["roles_of_cache_change", "roles_of_cache_delete"],
        parameters: &[("cache", "$request.path.cache"), ("id", "$response.body#/message")],
    },
    Next {
        after: "upstreams_add",
        operations: &["upstreams_change", "upstreams_remove"],
        parameters: &[("cache", "$request.path.cache"), ("id", "$response.body#/message")],
    },
    Next {
        after: "cache_keys_add",
        operations: &["cache_keys_retire"],
        parameters: &[("cache", "$request.path.cache"), ("id", "$response.body#/message/id")],
    },
    Next {
        after: "cache_root_uploads_begin",
        operations: &[
            "cache_root_uploads_offset",
            "cache_root_uploads_piece",
            "cache_root_uploads_finish",
            "cache_root_uploads_give_up",
        ],
        parameters: &[("cache", "$request.path.cache"), ("id", "$response.body#/id")],
    },
    Next {
        after: "pins_pin",
        operations: &["pins_unpin"],
        parameters: &[("cache", "$request.path.cache"), ("hash", "$request.body#/hash")],
    },
    Next {
        after: "workers_register",
        operations: &["workers_change", "workers_unregister"],
        parameters: &[("org", "$request.path.org"), ("worker", "$request.body#/worker_id")],
    },
    Next { after: "evaluations_evaluate", operations: OF_AN_EVALUATION, parameters: &[("id", "$response.body#/message")] },
    Next { after: "direct_builds_submit", operations: OF_AN_EVALUATION, parameters: &[("id", "$response.body#/message")] },
    Next { after: "evaluations_show", operations: &["commits_show"], parameters: &[("id", "$response.body#/message/commit")] },
    Next {
        after: "builds_downloads_download_token",
        operations: &["builds_downloads_download"],
        parameters: &[("id", "$request.path.id"), ("token", "$response.body#/message")],
    },
];

const OF_AN_EVALUATION: &[&str] =
    &["evaluations_show", "evaluations_builds", "evaluations_messages", "evaluations_logs", "evaluations_act"];

/// Adds the links of what the operation answers when it succeeds.
pub(super) fn add(operation: &mut Operation) {
    let Some(id) = operation.operation_id.as_deref() else { return };
    let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else { return };
    for next in NEXT.iter().filter(|next| next.after == id) {
        for following in next.operations {
            // utoipa writes the field of this name as `operation_id`, which nobody reads.
            let link = Link::builder().extensions(Some([("operationId", *following)].into_iter().collect()));
            let link = next.parameters.iter().fold(link, |link, (name, place)| link.parameter(*name, *place));
            answer.links.insert((*following).to_owned(), link.build().into());
        }
    }
}
