/** What is measured outside the pipeline, as operations scrape it. */
import { expect, test } from 'vitest';
import { countingViolations, startTelemetry } from '../../src/cli/telemetry.ts';

test('what a server says that is no MCP is counted by server and still logged', async () => {
  const telemetry = await startTelemetry({ prometheus: true }, { name: 'remit', version: '0', node: 'n' });
  try {
    const logged: string[] = [];
    const log = countingViolations(({ event }) => void logged.push(event));
    for (const serverId of ['babbler', 'babbler', 'other'])
      log({ level: 'warn', serverId, event: 'violation', message: 'a message is not strict JSON (syntax)' });
    log({ level: 'info', serverId: 'babbler', event: 'connected', message: 'modern' });
    expect(logged).toEqual(['violation', 'violation', 'violation', 'connected']);
    const text = await telemetry.scrape!();
    expect(text).toMatch(/^remit_upstream_violations_total\{.*server="babbler".*\} 2/m);
    expect(text).toMatch(/^remit_upstream_violations_total\{.*server="other".*\} 1/m);
  } finally {
    await telemetry.close();
  }
});
