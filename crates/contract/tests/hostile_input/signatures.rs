//! Signatures, as a receiver reads them: only the key that signed makes a request genuine.

use postrider_contract::attempt::Header;
use postrider_contract::clock::{Entropy, Timestamp};
use postrider_contract::ids::WebhookId;
use postrider_contract::profile::{CompiledProfile, ProfileOverride, builtin_profiles};
use postrider_contract::signature::{
    Covered, ReceivedRequest, RequestContext, SigningKey, signed_request, verify,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::texts::{damaged, event, tenant};

#[derive(Debug)]
struct Constant(u8);

impl Entropy for Constant {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn sent_at() -> Timestamp {
    Timestamp::from_millis(1_795_253_400_000)
}

fn key(profile: &CompiledProfile, byte: u8) -> SigningKey {
    let rule = profile.definition().secret.as_ref().expect("it signs");
    SigningKey::parse(rule.generate(&Constant(byte)).reveal(), rule).expect("a key")
}

fn signed(profile: &CompiledProfile, body: &[u8], keys: &[SigningKey]) -> Vec<Header> {
    let (event, tenant) = (event("{}").expect("an event"), tenant());
    let webhook = WebhookId::from_u128(1);
    let context = RequestContext::of_event(&event, &tenant.id, webhook, sent_at());
    signed_request(profile, &ProfileOverride::default(), &context, Covered { query: "", body }, keys).headers
}

proptest! {
    #[test]
    fn a_header_that_was_changed_at_will_never_passes_another_key(
        profile in select(builtin_profiles().to_vec()),
        body in ".{0,100}",
        choice in any::<Index>(),
        seed in damaged(Just("v1,t=1795253400,v1=sha256=".to_owned())),
        is_whole in any::<bool>(),
    ) {
        let (signing, other) = (key(&profile, 1), key(&profile, 2));
        let mut headers = signed(&profile, body.as_bytes(), &[signing.clone(), key(&profile, 3)]);
        let overrides = ProfileOverride::default();
        let judge = |headers: &[Header], key: &SigningKey| {
            let request = ReceivedRequest { headers, query: "", body: body.as_bytes() };
            verify(&profile, &overrides, request, &[key.verifying()], sent_at())
        };
        prop_assert_eq!(judge(&headers, &signing), Ok(()));
        let index = choice.index(headers.len());
        let old = String::from_utf8_lossy(&headers[index].value).into_owned();
        let new = if is_whole { seed } else { old.replacen(['1', ',', '='], &seed, 1) };
        headers[index].value = new.into_bytes().into();
        prop_assert!(judge(&headers, &other).is_err(), "{headers:?}");
        // Whether it still passes with its own key depends on what was changed; that it is judged does not.
        drop(judge(&headers, &signing));
    }
}
