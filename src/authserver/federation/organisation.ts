/**
 * Whose a resource is, and whether somebody may ask for a token for it: only people of the organisation that its gateway
 * is configured for (CONTROLS ID-01). Does not decide what the token allows there; the gateway does.
 */
export const DEFAULT_ORGANISATION = 'default';

interface GatewayOfOrganisation {
  readonly origin: string;
  readonly organisation?: string | undefined;
}

/** null: no gateway of ours. */
export function organisationOfResource(gateways: readonly GatewayOfOrganisation[], resource: string): string | null {
  const origin = URL.parse(resource)?.origin;
  const gateway = gateways.find((candidate) => candidate.origin === origin);
  return gateway === undefined ? null : (gateway.organisation ?? DEFAULT_ORGANISATION);
}

/** Ask before every token for a person: at consent, at a code, at a refresh. A person without an organisation is of the default one. */
export function mayUse(
  gateways: readonly GatewayOfOrganisation[],
  person: { readonly organisation?: string },
  resource: string,
): boolean {
  return organisationOfResource(gateways, resource) === (person.organisation ?? DEFAULT_ORGANISATION);
}
