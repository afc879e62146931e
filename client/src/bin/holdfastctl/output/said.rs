//! Answers of `auth`, `user` and `role`: a text for people, and etcdctl's object for programs.

use holdfast_client::proto::authpb::Permission;
use holdfast_client::proto::etcdserverpb::{
    AuthDisableResponse, AuthEnableResponse, AuthRoleAddResponse, AuthRoleDeleteResponse, AuthRoleGetResponse,
    AuthRoleGrantPermissionResponse, AuthRoleListResponse, AuthRoleRevokePermissionResponse, AuthStatusResponse,
    AuthUserAddResponse, AuthUserChangePasswordResponse, AuthUserDeleteResponse, AuthUserGetResponse,
    AuthUserGrantRoleResponse, AuthUserListResponse, AuthUserRevokeRoleResponse,
};

use super::json::{Json, Object};
use super::{ByteStyle, Simple, Tabular, ToJson};

/// An answer with the words for it.
pub(crate) struct Said<'a, A> {
    pub text: &'a str,
    pub answer: &'a A,
}

impl<A> Simple for Said<'_, A> {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        // Of nobody there is nothing to say.
        if self.text.is_empty() { Vec::new() } else { format!("{}\n", self.text).into_bytes() }
    }
}

impl<A: ToJson> ToJson for Said<'_, A> {
    fn json(&self) -> Json {
        self.answer.json()
    }
}

impl<A> Tabular for Said<'_, A> {}

macro_rules! with_a_header {
    ($($answer:ty: $this:ident $(.$method:ident($name:literal, $value:expr))*;)*) => {
        $(impl ToJson for $answer {
            fn json(&self) -> Json {
                let $this = self;
                Object::default().message("header", $this.header.as_ref())$(.$method($name, $value))*.into()
            }
        })*
    };
}

with_a_header! {
    AuthEnableResponse: answer;
    AuthDisableResponse: answer;
    AuthStatusResponse: answer.unless_zero("enabled", answer.enabled).unless_zero("authRevision", answer.auth_revision);
    AuthUserAddResponse: answer;
    AuthUserGetResponse: answer.unless_zero("roles", &answer.roles);
    AuthUserListResponse: answer.unless_zero("users", &answer.users);
    AuthUserDeleteResponse: answer;
    AuthUserChangePasswordResponse: answer;
    AuthUserGrantRoleResponse: answer;
    AuthUserRevokeRoleResponse: answer;
    AuthRoleAddResponse: answer;
    AuthRoleGetResponse: answer.messages("perm", &answer.perm);
    AuthRoleListResponse: answer.unless_zero("roles", &answer.roles);
    AuthRoleDeleteResponse: answer;
    AuthRoleGrantPermissionResponse: answer;
    AuthRoleRevokePermissionResponse: answer;
}

impl ToJson for Permission {
    fn json(&self) -> Json {
        Object::default()
            .unless_zero("permType", self.perm_type)
            .bytes("key", &self.key)
            .bytes("range_end", &self.range_end)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_client::proto::authpb::permission::Type;

    use super::super::json::text;
    use super::*;

    /// As etcdctl 3.5 prints it.
    #[test]
    fn a_role_in_json_is_etcdctls() {
        let perm = |kind: Type, key: &'static str, range_end: &'static str| Permission {
            perm_type: kind as i32,
            key: key.into(),
            range_end: range_end.into(),
        };
        let perm = vec![perm(Type::Read, "a", "c"), perm(Type::Readwrite, "x", "")];
        let answer = AuthRoleGetResponse { perm, ..AuthRoleGetResponse::default() };
        let shown = String::from_utf8(text(&Said { text: "", answer: &answer }.json())).expect("text");
        assert_eq!(shown, "{\"perm\":[{\"key\":\"YQ==\",\"range_end\":\"Yw==\"},{\"permType\":2,\"key\":\"eA==\"}]}\n");
    }
}
