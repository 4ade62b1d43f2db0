<?php
// What Smartsupp's help page proposes: one file, which holds the last delivery.
$data = file_get_contents('php://input');
file_put_contents('data.json', $data);
$json = json_decode($data);
