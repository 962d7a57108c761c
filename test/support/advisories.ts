/** Advisories in the OSV format, written for tests: facts of published vulnerabilities, in words of ours. */

/** mcp-remote hands an address that a server names to a shell of the operating system. */
export const MCP_REMOTE = {
  schema_version: '1.7.0',
  id: 'GHSA-6xpm-ggf7-wc3p',
  aliases: ['CVE-2025-6514'],
  modified: '2025-07-10T00:00:00Z',
  published: '2025-07-09T00:00:00Z',
  summary: 'A server that mcp-remote connects to can run commands on the machine of its user',
  affected: [
    {
      package: { ecosystem: 'npm', name: 'mcp-remote' },
      ranges: [{ type: 'SEMVER', events: [{ introduced: '0.0.5' }, { fixed: '0.1.16' }] }],
    },
  ],
};
