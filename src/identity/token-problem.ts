/**
 * Every way an access token can be refused, as one closed union. The kinds go to the audit log and the operator;
 * what the caller may read is `publicDescription`, which tells no more than the caller's own token does.
 */

export type TokenProblem =
  // Said by anybody who can write a header:
  | { readonly kind: 'malformed'; readonly detail: string }
  | { readonly kind: 'header_refused'; readonly member: string } // crit, jwk, jku, x5u …: keys come from our configuration only
  | { readonly kind: 'type' } // `typ` is not at+jwt (RFC 9068 4)
  | { readonly kind: 'algorithm' } // not on our list for this issuer
  | { readonly kind: 'issuer' } // not one of ours
  | { readonly kind: 'key_unknown' } // the issuer publishes no such key
  | { readonly kind: 'keys_unavailable' } // the issuer cannot be asked: our trouble (503), not the caller's
  | { readonly kind: 'signature' }
  // Said by the issuer, whose signature held:
  | { readonly kind: 'claims_missing'; readonly claim: string }
  | { readonly kind: 'claim_invalid'; readonly claim: string }
  | { readonly kind: 'audience' } // issued for another resource
  | { readonly kind: 'expired' }
  | { readonly kind: 'not_yet_valid' }
  | { readonly kind: 'lifetime'; readonly seconds: number; readonly maxSeconds: number } // AN-07
  | { readonly kind: 'sender_binding' }; // bound to a key (`cnf`), presented as a plain bearer token

/** Fixed texts, safe in `error_description`: no value from the token is repeated. */
export function publicDescription(kind: TokenProblem['kind']): string {
  switch (kind) {
    case 'expired':
      return 'The access token expired';
    case 'not_yet_valid':
      return 'The access token is not valid yet';
    case 'audience':
      return 'The access token was issued for another resource';
    case 'lifetime':
      return 'The access token lives longer than this resource accepts';
    case 'type':
      return 'The token is not an access token';
    case 'sender_binding':
      return 'The access token is bound to a key and cannot be used as a bearer token';
    case 'keys_unavailable':
      return 'The access token cannot be checked right now';
    case 'malformed':
    case 'header_refused':
    case 'algorithm':
    case 'issuer':
    case 'key_unknown':
    case 'signature':
    case 'claims_missing':
    case 'claim_invalid':
      return 'The access token is not valid';
    default:
      return kind satisfies never;
  }
}
