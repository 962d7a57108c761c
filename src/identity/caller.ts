/** Who is calling, as a verified access token says it. Roles and standing are not here: they come from the directory's snapshot. */
export interface Caller {
  readonly issuer: string;
  readonly subject: string;
  /** The OAuth client: the agent or application that acts. */
  readonly clientId: string;
  /** The client acts by itself: there is no person behind the token (RFC 9068 2.2: `sub` equals `client_id`, or as the issuer's rule says). */
  readonly alone: boolean;
  readonly scopes: ReadonlySet<string>;
  /** `jti`. */
  readonly tokenId: string;
  /** Seconds since the epoch, as in the token. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Actors from the token's `act` claim, outermost first; empty when nobody acts for somebody (RFC 8693 4.1). */
  readonly actChain: readonly string[];
  /** The grant and the sign-in that the token hangs on, where the issuer says so: what voids them voids it. */
  readonly grantId: string | null;
  readonly sessionId: string | null;
  /** How and when the person signed in (`acr`, `amr`, `auth_time` in seconds); null and empty when the token does not say. */
  readonly acr: string | null;
  readonly amr: readonly string[];
  readonly authTime: number | null;
  /** SHA-256 thumbprint of the key the token is bound to (`cnf.jkt`), whose possession was proved; null: a bearer token. */
  readonly keyThumbprint: string | null;
  /** Other claims that mappings may read: name -> text members. Only those that the issuer's rule names. */
  readonly attributes: Readonly<Record<string, readonly string[]>>;
}
