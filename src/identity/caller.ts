/** Who is calling, as a verified access token says it. Roles and standing are not here: they come from the directory's snapshot. */
export interface Caller {
  readonly issuer: string;
  readonly subject: string;
  /** The OAuth client: the agent or application that acts. */
  readonly clientId: string;
  readonly scopes: ReadonlySet<string>;
  /** `jti`. */
  readonly tokenId: string;
  /** Seconds since the epoch, as in the token. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Actors from the token's `act` claim, outermost first; empty when the client acts by itself (RFC 8693 4.1). */
  readonly actChain: readonly string[];
}
