/** A container engine keeps the isolation contract, where one works; and without one nothing starts. */
import { join } from 'node:path';
import { afterAll, describe } from 'vitest';
import { containerBackend } from '../../src/sandbox/container.ts';
import { serverUid } from '../../src/sandbox/host-user.ts';
import { isolationContract } from '../contracts/isolation.ts';
import { testEngine } from '../support/container.ts';
import { REPOSITORY } from '../support/upstreams/open.ts';
import { runInContainer } from './run-in-container.ts';

const ROOT = process.getuid?.() === 0;
const here = testEngine();

if (typeof here === 'string') {
  describe.skip(`isolation by containers: ${here}`);
} else {
  const { remove, ...engine } = here;
  const options = { ...engine, owner: `test-${process.pid}` };
  const backend = containerBackend({ ...options, graceMs: 300 });
  afterAll(remove);
  const uid = ROOT ? serverUid('isolation-test') : 65_534;
  isolationContract('container', {
    run: (spec) => runInContainer(spec, backend),
    hostUid: uid,
    groups: `${uid}`,
    rootFolders: ['run', 'sys'],
    gateway: [join(REPOSITORY, 'test/sandbox/run-in-container.ts'), JSON.stringify(options)],
  });
}
