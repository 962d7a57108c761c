/**
 * Every way an access token can be refused, as one closed union. The kinds go to the audit log and the operator;
 * what the caller may read is `publicDescription`, which tells no more than the caller's own token does.
 */

/** What is wrong with a proof of possession (RFC 9449 4.3). */
export type ProofDetail =
  | 'unbound' // the token is bound to no key, so no proof belongs to it
  | 'missing'
  | 'duplicate'
  | 'malformed'
  | 'type'
  | 'algorithm'
  | 'key' // none, or one that is no public key of that algorithm
  | 'key_mismatch' // not the key the token is bound to
  | 'claims'
  | 'method'
  | 'url'
  | 'token_hash'
  | 'time'
  | 'nonce'
  | 'signature'
  | 'replayed';

export type TokenProblem =
  // Said by anybody who can write a header:
  | { readonly kind: 'malformed'; readonly detail: string }
  | { readonly kind: 'header_refused'; readonly member: string } // crit, jwk, jku, x5u …: keys come from our configuration only
  | { readonly kind: 'type' } // not an access token by its type or by the rule for this issuer (RFC 9068 4)
  | { readonly kind: 'algorithm' } // not on our list for this issuer
  | { readonly kind: 'issuer' } // not one of ours
  | { readonly kind: 'key_unknown' } // the issuer publishes no such key
  | { readonly kind: 'keys_unavailable' } // the issuer cannot be asked: our trouble (503), not the caller's
  | { readonly kind: 'signature' }
  | { readonly kind: 'inactive' } // the issuer, asked about it, does not know it as good (RFC 7662)
  // Said by the issuer, whose signature held:
  | { readonly kind: 'claims_missing'; readonly claim: string }
  | { readonly kind: 'claim_invalid'; readonly claim: string }
  | { readonly kind: 'audience' } // issued for another resource
  | { readonly kind: 'expired' }
  | { readonly kind: 'not_yet_valid' }
  | { readonly kind: 'lifetime'; readonly seconds: number; readonly maxSeconds: number } // AN-07
  | { readonly kind: 'sender_binding' } // bound to a key (`cnf`), presented as a plain bearer token
  // Said by who holds the token:
  | { readonly kind: 'proof'; readonly detail: ProofDetail; readonly nonce?: string } // `nonce`: put this one into the next proof
  | { readonly kind: 'proofs_full' }; // no room to remember this proof, so it cannot be let in: our trouble (503)

/** Problems that are ours: the token may be good. */
export const isOurTrouble = ({ kind }: TokenProblem): boolean => kind === 'keys_unavailable' || kind === 'proofs_full';

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
    case 'proof':
      return 'The proof of possession is not valid for this request';
    case 'keys_unavailable':
    case 'proofs_full':
      return 'The access token cannot be checked right now';
    case 'malformed':
    case 'header_refused':
    case 'algorithm':
    case 'issuer':
    case 'key_unknown':
    case 'signature':
    case 'inactive':
    case 'claims_missing':
    case 'claim_invalid':
      return 'The access token is not valid';
    default:
      return kind satisfies never;
  }
}
