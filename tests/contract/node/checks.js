// node checks.js FOLDER PORT: runs every check against the emulator at PORT, with the clients that are installed in
// FOLDER, and prints a list of {client, check, error} as JSON; error is null where the check has passed.
'use strict';

const assert = require('assert');
const http = require('http');
const net = require('net');
const path = require('path');

const [folder, port] = [process.argv[2], Number(process.argv[3])];
const KEY = 'testKeyId';
const SECRET = 'testKeySecret';
const ACCOUNT = '1234567890';

// One of the clients makes the address of its service from account and region. No connection leads anywhere else than
// to the emulator, whatever address it is for.
class ToEmulator extends http.Agent {
  createConnection(options, done) {
    return net.createConnection({ host: '127.0.0.1', port }, done);
  }
}
http.globalAgent = new ToEmulator({ keepAlive: true });
const resolve = (name) => require(require.resolve(name, { paths: [path.resolve(folder)] }));

async function fails(promise, code) {
  try {
    await promise;
  } catch (error) {
    const found = error.Error ? error.Error.Code : error.name;
    assert.ok(found.includes(code), `${found} instead of ${code}`);
    return;
  }
  assert.fail(`no error instead of ${code}`);
}

function official() {
  const Client = resolve('@alicloud/mns');
  const options = { accessKeyId: KEY, accessKeySecret: SECRET, endpoint: `http://127.0.0.1:${port}` };
  const client = new Client(ACCOUNT, options);
  const texts = (count) => Array.from({ length: count }, (_, number) => ({ MessageBody: `text ${number}` }));
  const emptied = async (queue) => {
    const found = await client.batchReceiveMessage(queue, 16);
    const response = await client.batchDeleteMessage(queue, found.body.map((each) => each.ReceiptHandle));
    assert.strictEqual(response.code, 204);
    return found.body;
  };
  return {
    'a queue is created, changed, listed and shown': async () => {
      const created = await client.createQueue('official', { VisibilityTimeout: 40 });
      assert.strictEqual(created.code, 201);
      assert.ok(created.headers.location.endsWith('/queues/official'));
      assert.strictEqual((await client.createQueue('official', { VisibilityTimeout: 40 })).code, 204);
      await fails(client.createQueue('official', { VisibilityTimeout: 41 }), 'QueueAlreadyExist');
      assert.strictEqual((await client.setQueueAttributes('official', { PollingWaitSeconds: 0 })).code, 204);
      const shown = (await client.getQueueAttributes('official')).body;
      assert.deepStrictEqual([shown.QueueName, shown.VisibilityTimeout], ['official', '40']);
      const listed = await client.listQueue('', 10, 'official');
      assert.ok(listed.body[0].QueueURL.endsWith('/queues/official'));
    },
    'a message travels from send to delete': async () => {
      const sent = await client.sendMessage('official', { MessageBody: 'a &amp; b &lt;ü&gt;' });
      assert.strictEqual(sent.code, 201);
      assert.strictEqual((await client.peekMessage('official')).body.MessageId, sent.body.MessageId);
      const received = (await client.receiveMessage('official')).body;
      assert.strictEqual(received.MessageBody, 'a & b <ü>');
      assert.strictEqual(received.MessageBodyMD5, sent.body.MessageBodyMD5);
      assert.strictEqual((await client.deleteMessage('official', received.ReceiptHandle)).code, 204);
      await fails(client.deleteMessage('official', received.ReceiptHandle), 'MessageNotExist');
    },
    'batches of sixteen travel whole': async () => {
      assert.strictEqual((await client.batchSendMessage('official', texts(16))).body.length, 16);
      assert.strictEqual((await client.batchPeekMessage('official', 16)).body.length, 16);
      assert.deepStrictEqual((await emptied('official')).map((each) => each.MessageBody), texts(16).map((each) => each.MessageBody));
    },
    'a partly failed batch names the handles that were not valid': async () => {
      await client.batchSendMessage('official', texts(2));
      const handles = (await client.batchReceiveMessage('official', 2)).body.map((each) => each.ReceiptHandle);
      await client.deleteMessage('official', handles[0]);
      const response = await client.batchDeleteMessage('official', handles);
      assert.strictEqual(response.code, 404);
      assert.deepStrictEqual(response.body.map((each) => each.ReceiptHandle), [handles[0]]);
    },
    'a change of the visibility gives another handle': async () => {
      await client.sendMessage('official', { MessageBody: 'hidden', Priority: 3 });
      const first = (await client.receiveMessage('official')).body.ReceiptHandle;
      const changed = (await client.changeMessageVisibility('official', first, 60)).body;
      assert.ok(Number(changed.NextVisibleTime) > Date.now());
      assert.strictEqual((await client.deleteMessage('official', changed.ReceiptHandle)).code, 204);
    },
    'a delayed message can be taken back': async () => {
      const sent = (await client.sendMessage('official', { MessageBody: 'later', DelaySeconds: 60 })).body;
      assert.strictEqual((await client.deleteMessage('official', sent.ReceiptHandle)).code, 204);
    },
    'a long poll gets what is sent meanwhile': async () => {
      const poll = client.receiveMessage('official', 20);
      await client.sendMessage('official', { MessageBody: 'meanwhile' });
      const received = (await poll).body;
      assert.strictEqual(received.MessageBody, 'meanwhile');
      await client.deleteMessage('official', received.ReceiptHandle);
    },
    'errors have the names of the service': async () => {
      await fails(client.receiveMessage('official'), 'MessageNotExist');
      await fails(client.receiveMessage('no-such-queue'), 'QueueNotExist');
      await fails(client.sendMessage('official', { MessageBody: '', DelaySeconds: -1 }), 'InvalidArgument');
      const stranger = new Client(ACCOUNT, { ...options, accessKeySecret: 'another' });
      await fails(stranger.listQueue(), 'SignatureDoesNotMatch');
    },
    'a topic is created, changed, listed, shown and published to': async () => {
      assert.strictEqual((await client.createTopic('official', { MaximumMessageSize: 2048 })).code, 201);
      assert.strictEqual((await client.setTopicAttributes('official', { LoggingEnabled: 'True' })).code, 204);
      const shown = (await client.getTopicAttributes('official')).body;
      assert.deepStrictEqual([shown.TopicName, shown.MaximumMessageSize], ['official', '2048']);
      assert.strictEqual((await client.listTopic('', 10, 'official')).body.length, 1);
      const published = await client.publishMessage('official', { MessageBody: 'to all' });
      assert.ok(published.body.MessageId);
    },
    'a queue is deleted': async () => {
      assert.strictEqual((await client.deleteQueue('official')).code, 204);
      await fails(client.getQueueAttributes('official'), 'QueueNotExist');
    },
  };
}

function community() {
  const AliMNS = resolve('ali-mns');
  const account = new AliMNS.Account(ACCOUNT, KEY, SECRET);
  account.setGA(false); // it would report its use to Google Analytics
  const service = new AliMNS.MNSTopic(account, 'hangzhou');
  const queue = new AliMNS.MQBatch('community', account, 'hangzhou');
  const topic = new AliMNS.Topic('community', account, 'hangzhou');
  const several = (count) => Array.from({ length: count }, (_, number) => new AliMNS.Msg(`ü ${number}`, 8, 0));
  const list = (found) => (Array.isArray(found) ? found : [found]);
  return {
    'a queue is created, changed, listed and shown': async () => {
      await service.createP('community', { VisibilityTimeout: 40 });
      await fails(service.createP('community', { VisibilityTimeout: 41 }), 'QueueAlreadyExist');
      await queue.setAttrsP({ MessageRetentionPeriod: 600 });
      const shown = (await queue.getAttrsP()).Queue;
      assert.deepStrictEqual([shown.VisibilityTimeout, shown.MessageRetentionPeriod], ['40', '600']);
      const listed = list((await service.listP('community', 10)).Queues.Queue);
      assert.ok(listed[0].QueueURL.endsWith('/queues/community'));
    },
    'a message travels from send to delete': async () => {
      await queue.sendP('a & b <ü>', 8, 0);
      assert.strictEqual((await queue.peekP(1)).Message.MessageBody, 'a & b <ü>');
      const received = (await queue.recvP(0, 1)).Message;
      assert.strictEqual(received.MessageBody, 'a & b <ü>');
      const reserved = (await queue.reserveP(received.ReceiptHandle, 60)).ChangeVisibility;
      await queue.deleteP([reserved.ReceiptHandle]);
      await fails(queue.recvP(0, 1), 'MessageNotExist');
    },
    'batches of sixteen travel whole': async () => {
      const sent = await queue.sendP(several(16));
      assert.strictEqual(sent.Messages.Message.length, 16);
      assert.strictEqual((await queue.peekP(16)).Messages.Message.length, 16);
      const received = (await queue.recvP(0, 16)).Messages.Message;
      assert.deepStrictEqual(received.map((each) => each.MessageBody), several(16).map((each) => each.getMsg()));
      await queue.deleteP(received.map((each) => each.ReceiptHandle));
      assert.strictEqual((await queue.getAttrsP()).Queue.InactiveMessages, '0');
    },
    'its own loop receives and deletes': async () => {
      const stopped = new Promise((done) => {
        queue.notifyRecv((error, data) => {
          done(error || data.Messages.Message[0].MessageBody);
          return true;
        }, 20, 16);
      });
      await queue.sendP('noticed', 8, 0);
      assert.strictEqual(await stopped, 'noticed');
      const ended = queue.notifyStopP();
      await service.deleteP('community'); // ends the long poll, which the loop would sit out
      await ended;
      await service.createP('community');
    },
    'a topic pushes to the queue that has subscribed': async () => {
      await service.createTopicP('community');
      await topic.setAttrsP({ MaximumMessageSize: 4096 });
      assert.strictEqual((await topic.getAttrsP()).Topic.MaximumMessageSize, '4096');
      assert.strictEqual(list((await service.listTopicP('community', 10)).Topics.Topic).length, 1);
      const endpoint = `acs:mns:cn-hangzhou:${ACCOUNT}:queues/community`;
      const { NotifyStrategy, NotifyContentFormat } = AliMNS.Subscription;
      await topic.subscribeP('all', endpoint, NotifyStrategy.BACKOFF_RETRY, NotifyContentFormat.SIMPLIFIED);
      await fails(topic.subscribeP('all', `${endpoint}-2`), 'SubscriptionAlreadyExist');
      const subscription = new AliMNS.Subscription('all', topic);
      await subscription.setAttrsP({ NotifyStrategy: NotifyStrategy.EXPONENTIAL_DECAY_RETRY });
      const shown = (await subscription.getAttrsP()).Subscription;
      assert.deepStrictEqual([shown.Endpoint, shown.NotifyStrategy], [endpoint, 'EXPONENTIAL_DECAY_RETRY']);
      assert.strictEqual(list((await topic.listP('', 10)).Subscriptions.Subscription).length, 1);
      await topic.publishP('published', true);
      assert.strictEqual((await queue.recvP(5, 1)).Message.MessageBody, 'published');
      await topic.unsubscribeP('all');
      await fails(subscription.getAttrsP(), 'SubscriptionNotExist');
      await service.deleteTopicP('community');
      await fails(topic.getAttrsP(), 'TopicNotExist');
    },
    'errors have the codes of the service': async () => {
      const stranger = new AliMNS.Account(ACCOUNT, KEY, 'another');
      stranger.setGA(false);
      await fails(new AliMNS.MNS(stranger, 'hangzhou').listP(), 'SignatureDoesNotMatch');
      await service.deleteP('community');
      await fails(queue.getAttrsP(), 'QueueNotExist');
    },
  };
}

async function main() {
  const results = [];
  for (const [client, checks] of Object.entries({ '@alicloud/mns': official(), 'ali-mns': community() })) {
    for (const [check, run] of Object.entries(checks)) {
      let error = null;
      await run().catch((reason) => {
        error = reason.stack || JSON.stringify(reason);
      });
      results.push({ client, check, error });
    }
  }
  process.stdout.write(JSON.stringify(results), () => process.exit());
}

main();
